import asyncio
from asyncio import Future
from typing import Any, TypeVar, final

_T = TypeVar("_T")

@final
class Driver(asyncio.Handle): ...

@final
class Wakeup:
    def __call__(self, future: Future[Any], /) -> None: ...
    @property
    def __self__(self) -> Task[Any]: ...

class Task(asyncio.Task[_T]): ...
