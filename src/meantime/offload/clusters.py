"""A call on a cluster: Dask's or Ray's, by the client that the program already has.

Neither is imported here: a client that is handed in has been imported by whoever made it, and
`connect_cluster` imports the one that its address names.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import sys
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .threads import wait_bounded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

CONNECT_S = 10.0
RAY_PORT = 10001


def is_cluster(where: Any) -> bool:
    """Tell whether a place is a client of a cluster."""
    return is_dask(where) or is_ray(where)


def is_dask(where: Any) -> bool:
    """Tell whether a place is a client of Dask."""
    distributed = sys.modules.get("distributed")
    return distributed is not None and isinstance(where, distributed.Client)


def is_ray(where: Any) -> bool:
    """Tell whether a place is the module of Ray."""
    return where is not None and where is sys.modules.get("ray")


async def call_on_cluster(
    cluster: Any,
    name: str,
    call: Callable[[], Any],
    limiter: AbstractAsyncContextManager[Any],
    timeout: float | None,
) -> Any:
    """Call a function on a cluster, and return its result.

    Cancelling and timeouts take the call back from the cluster.

    Raises:
        TimeoutError: it took longer than `timeout` seconds, the cluster's own line included.
    """
    async with limiter:
        running = on_ray(cluster, call) if is_ray(cluster) else on_dask(cluster, call)
        return await wait_bounded(name, running, timeout)


async def on_dask(client: Any, call: Callable[[], Any]) -> Any:
    """Call a function on a cluster of Dask's."""
    # Otherwise Dask would give the result of an earlier call with the same arguments.
    future = client.submit(call, pure=False)
    try:
        if client.asynchronous:
            return await future
        done = asyncio.get_running_loop().create_future()
        tell = partial(settle_from_thread, asyncio.get_running_loop(), done)
        future.add_done_callback(tell)
        await done
        return await asyncio.to_thread(future.result)
    except BaseException:
        if client.asynchronous:
            await client.cancel([future], force=True)
        else:
            await asyncio.to_thread(client.cancel, [future], force=True)
        raise


async def on_ray(ray: Any, call: Callable[[], Any]) -> Any:
    """Call a function on a cluster of Ray's."""
    reference = await asyncio.to_thread(remote_function(ray).remote, call)
    try:
        return await asyncio.wrap_future(reference.future())
    except asyncio.CancelledError:
        await asyncio.to_thread(ray.cancel, reference, force=True)
        raise


@functools.cache
def remote_function(ray: Any) -> Any:
    """Return what calls a function on Ray: once, also when its worker dies."""
    return ray.remote(call_it).options(max_retries=0)


def call_it(call: Callable[[], Any]) -> Any:
    """Call a function without arguments. Ray takes plain functions only, no partial ones."""
    return call()


def settle_from_thread(loop: asyncio.AbstractEventLoop, done: asyncio.Future[None], _: Any) -> None:
    """End a wait of a loop, from any thread."""
    try:
        loop.call_soon_threadsafe(settle, done)
    except RuntimeError:
        pass  # the loop is closed


def settle(done: asyncio.Future[None]) -> None:
    """End a wait."""
    if not done.done():
        done.set_result(None)


@asynccontextmanager
async def connect_cluster(address: str, *, timeout: float = CONNECT_S) -> AsyncIterator[Any]:
    """Connect to a cluster for the length of an `async with`.

    Args:
        address: "ray" or "ray://host:10001" for Ray, otherwise the address of Dask's scheduler.
        timeout: how long connecting may take, in seconds.

    Raises:
        ConnectionError: the cluster cannot be reached.
        ModuleNotFoundError: its client is not installed.
    """
    if address == "ray" or address.startswith("ray://"):
        ray = imported("ray", "ray")
        await reach_ray(ray, address, timeout)
        try:
            yield ray
        finally:
            remote_function.cache_clear()
            await asyncio.to_thread(ray.shutdown)
        return
    distributed = imported("distributed", "dask")
    try:
        client = await distributed.Client(address, asynchronous=True, timeout=timeout)
    except (OSError, ValueError) as refusal:
        raise unreachable(address, refusal) from refusal
    try:
        yield client
    finally:
        await client.close()


async def reach_ray(ray: Any, address: str, timeout: float) -> None:
    """Connect to a cluster of Ray's, or start one on this machine.

    Raises:
        ConnectionError: it cannot be reached.
    """
    if address == "ray":
        await asyncio.to_thread(ray.init, log_to_driver=False)
        return
    try:
        # Ray itself goes on trying for a long time, and cannot be told to stop.
        parts = urlsplit(address)
        connecting = asyncio.open_connection(parts.hostname, parts.port or RAY_PORT)
        _, writer = await asyncio.wait_for(connecting, timeout)
        writer.close()
        await asyncio.to_thread(ray.init, address, log_to_driver=False)
    except (OSError, ValueError) as refusal:
        raise unreachable(address, refusal) from refusal


def imported(module: str, extra: str) -> Any:
    """Return the module of a cluster's client.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError(
            f"Such a cluster is reached by the module {module!r}, which is not installed. "
            f"Install it: pip install 'meantime[{extra}]'.",
            name=module,
        ) from missing


def unreachable(address: str, refusal: Exception) -> ConnectionError:
    """Return the error of a cluster that cannot be reached."""
    why = str(refusal) or type(refusal).__name__
    return ConnectionError(
        f"the cluster at {address!r} cannot be reached: {why}. Look whether its scheduler runs "
        "there and lets this machine in."
    )
