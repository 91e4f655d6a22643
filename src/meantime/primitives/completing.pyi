from asyncio import Future
from collections.abc import AsyncIterable, Awaitable, Coroutine, Iterable
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")

class _Completions(Generic[_T]):
    # Either kind of iterator, as it is used.
    def __aiter__(self) -> _Completions[_T]: ...
    async def __anext__(self) -> Future[_T]: ...
    def __iter__(self) -> _Completions[_T]: ...
    def __next__(self) -> Coroutine[Any, Any, _T]: ...

def as_completed(
    fs: Iterable[Awaitable[_T]] | AsyncIterable[Awaitable[_T]],
    *,
    timeout: float | None = None,
    limit: int | None = None,
) -> _Completions[_T]: ...
