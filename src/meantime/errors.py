"""The exceptions and warnings that are meantime's own; all else is Python's or asyncio's."""


class BackendError(RuntimeError):
    """The backend that was asked for does not work on this machine."""


class FallbackWarning(RuntimeWarning):
    """The compiled core is missing, so programs run on asyncio's own loop."""
