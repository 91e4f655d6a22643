from asyncio import Future
from collections.abc import AsyncIterable, Awaitable, Iterable
from typing import Literal, TypeAlias, TypeVar, overload

_T = TypeVar("_T")
_T1 = TypeVar("_T1")
_T2 = TypeVar("_T2")
_T3 = TypeVar("_T3")
_T4 = TypeVar("_T4")
_Limit: TypeAlias = int | None

@overload
def gather(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
    first: Awaitable[_T1], /, *, return_exceptions: Literal[False] = False, limit: _Limit = None
) -> Future[tuple[_T1]]: ...
@overload
def gather(  # type: ignore[overload-overlap]
    first: Awaitable[_T1],
    second: Awaitable[_T2],
    /,
    *,
    return_exceptions: Literal[False] = False,
    limit: _Limit = None,
) -> Future[tuple[_T1, _T2]]: ...
@overload
def gather(  # type: ignore[overload-overlap]
    first: Awaitable[_T1],
    second: Awaitable[_T2],
    third: Awaitable[_T3],
    /,
    *,
    return_exceptions: Literal[False] = False,
    limit: _Limit = None,
) -> Future[tuple[_T1, _T2, _T3]]: ...
@overload
def gather(  # type: ignore[overload-overlap]
    first: Awaitable[_T1],
    second: Awaitable[_T2],
    third: Awaitable[_T3],
    fourth: Awaitable[_T4],
    /,
    *,
    return_exceptions: Literal[False] = False,
    limit: _Limit = None,
) -> Future[tuple[_T1, _T2, _T3, _T4]]: ...
@overload
def gather(
    *coros_or_futures: Awaitable[_T],
    return_exceptions: Literal[False] = False,
    limit: _Limit = None,
) -> Future[list[_T]]: ...
@overload
def gather(
    *coros_or_futures: Awaitable[_T], return_exceptions: bool, limit: _Limit = None
) -> Future[list[_T | BaseException]]: ...
@overload
def gather(
    source: Iterable[Awaitable[_T]] | AsyncIterable[Awaitable[_T]],
    /,
    *,
    return_exceptions: Literal[False] = False,
    limit: int,
) -> Future[list[_T]]: ...
@overload
def gather(
    source: Iterable[Awaitable[_T]] | AsyncIterable[Awaitable[_T]],
    /,
    *,
    return_exceptions: bool,
    limit: int,
) -> Future[list[_T | BaseException]]: ...
