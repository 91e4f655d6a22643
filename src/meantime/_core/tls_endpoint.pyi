from typing import Any

from meantime._core.sending import SendingEndpoint

class TlsEndpoint(SendingEndpoint):
    @property
    def _sslcontext(self) -> Any: ...
