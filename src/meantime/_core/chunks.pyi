from typing import final

@final
class Chunks:
    @property
    def size(self) -> int: ...
