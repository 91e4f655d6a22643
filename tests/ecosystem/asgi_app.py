"""An ASGI application without a framework: it tells which event loop it runs on."""

import asyncio


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["path"] == "/echo":
        await answer(send, await whole_body(receive))
    elif scope["path"] == "/slowly":
        await answer_slowly(send)
    else:
        loop = type(asyncio.get_running_loop())
        await answer(send, f"{loop.__module__.partition('.')[0]}.{loop.__name__}".encode())


async def lifespan(receive, send):
    while True:
        event = (await receive())["type"]
        print(event, flush=True)
        await send({"type": f"{event}.complete"})
        if event == "lifespan.shutdown":
            return


async def whole_body(receive):
    body = b""
    while True:
        event = await receive()
        body += event.get("body", b"")
        if not event.get("more_body"):
            return body


async def answer(send, body):
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def answer_slowly(send):
    """Begin to answer, and work for half a second before the rest."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    await asyncio.sleep(0.5)
    await send({"type": "http.response.body", "body": b", done"})
