from asyncio import Future
from typing import Any, final

# It stands in for a future.
@final
class Waiter(Future[Any]): ...
