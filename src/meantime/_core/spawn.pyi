CHANGING_DIRECTORY: int
EXECUTING: int

def has_close_range() -> bool: ...
def spawn(
    candidates: list[bytes],
    arguments: list[bytes],
    environment: list[bytes] | None,
    directory: bytes | None,
    standard: tuple[int, int, int],
    kept: tuple[int, ...],
    close_others: bool,
    restore_signals: bool,
    new_session: bool,
    group: int,
) -> tuple[int, int, int, int]: ...
def open_pidfd(pid: int) -> int: ...
def signal_pidfd(pidfd: int, number: int) -> None: ...
def reap(pid: int, pidfd: int) -> int | None: ...
