import asyncio
import os
import threading
import time


def write_later(fd):
    time.sleep(0.4)
    os.write(fd, b"news")
    os.close(fd)


async def main():
    reading, writing = os.pipe()
    writer = threading.Thread(target=write_later, args=(writing,))
    writer.start()
    with os.fdopen(reading, "rb") as file:
        file.read()  # wrong: blocked io.BufferedReader.read -> open_file
    await asyncio.to_thread(writer.join)


asyncio.run(main())
