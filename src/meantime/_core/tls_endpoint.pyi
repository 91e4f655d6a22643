from typing import Any

from meantime._core.sending import SendingEndpoint

class TlsEndpoint(SendingEndpoint):
    _sendfile_compatible: Any
    @property
    def _sslcontext(self) -> Any: ...
