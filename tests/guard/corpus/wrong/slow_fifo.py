import asyncio
import os
import tempfile
import threading
import time
from pathlib import Path


def write_later(path):
    time.sleep(0.4)
    path.write_text("news")


async def main():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fifo"
        os.mkfifo(path)
        writer = threading.Thread(target=write_later, args=(path,))
        writer.start()
        with open(path) as file:  # wrong: blocked open -> open_file
            file.read()
        await asyncio.to_thread(writer.join)


asyncio.run(main())
