from typing import final

from meantime.files.filecalls import Call

@final
class Write(Call):
    def made_up(self) -> None: ...
