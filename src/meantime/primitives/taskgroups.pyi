from asyncio import Task
from collections.abc import AsyncIterable, Coroutine, Iterable
from contextvars import Context
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar
from weakref import WeakSet

_T = TypeVar("_T")
_Coroutine: TypeAlias = Coroutine[Any, Any, Any]

cancelled_by_groups: WeakSet[Task[Any]]

class TaskGroup:
    def __init__(self, *, limit: int | None = None) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self,
        et: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> bool | None: ...
    def create_task(
        self,
        coro: Coroutine[Any, Any, _T],
        *,
        name: str | None = None,
        context: Context | None = None,
        **kwargs: Any,
    ) -> Task[_T]: ...
    async def create_tasks(self, aws: Iterable[_Coroutine] | AsyncIterable[_Coroutine]) -> None: ...
    def cancel(self) -> None: ...
