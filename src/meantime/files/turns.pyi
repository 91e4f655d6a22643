from typing import Any, final

@final
class Turns:
    busy: bool
    def ask(self) -> Any: ...
    def give(self) -> None: ...
