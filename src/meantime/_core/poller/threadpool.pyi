from typing import final

from meantime._core.poller.contract import Poller, Watcher

@final
class Port(Watcher): ...

class PoolingPoller(Poller): ...

def thread_count() -> int: ...
