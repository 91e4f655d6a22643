"""A server to which nobody comes for a while."""

import asyncio


async def main():
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        asyncio.get_running_loop().call_later(1.8, server.close)
        try:
            await server.serve_forever()
        except asyncio.CancelledError:
            pass


asyncio.run(main())
