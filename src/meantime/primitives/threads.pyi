import concurrent.futures
from asyncio import AbstractEventLoop
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

_T = TypeVar("_T")
_P = ParamSpec("_P")

async def to_thread(func: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T: ...
def run_coroutine_threadsafe(
    coro: Coroutine[Any, Any, _T], loop: AbstractEventLoop
) -> concurrent.futures.Future[_T]: ...
