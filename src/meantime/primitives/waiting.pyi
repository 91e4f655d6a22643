from asyncio import Future, Task
from collections.abc import Awaitable, Iterable
from typing import Any, Literal, TypeAlias, TypeVar, overload

_T = TypeVar("_T")
_FutureT = TypeVar("_FutureT", bound=Future[Any])
_FutureLike: TypeAlias = Future[_T] | Awaitable[_T]

FIRST_COMPLETED: Literal["FIRST_COMPLETED"]
FIRST_EXCEPTION: Literal["FIRST_EXCEPTION"]
ALL_COMPLETED: Literal["ALL_COMPLETED"]

@overload
async def wait(
    fs: Iterable[_FutureT], *, timeout: float | None = None, return_when: str = "ALL_COMPLETED"
) -> tuple[set[_FutureT], set[_FutureT]]: ...
@overload
async def wait(
    fs: Iterable[Task[_T]], *, timeout: float | None = None, return_when: str = "ALL_COMPLETED"
) -> tuple[set[Task[_T]], set[Task[_T]]]: ...
async def wait_for(fut: _FutureLike[_T], timeout: float | None) -> _T: ...
def shield(arg: _FutureLike[_T]) -> Future[_T]: ...
def log_shielded_error(future: Future[Any]) -> None: ...
