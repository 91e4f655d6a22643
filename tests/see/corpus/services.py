"""What the functions of the corpus call: each takes its time, as a server would."""

import asyncio

PAUSE_S = 0.1


async def fetch(thing, pause_s=PAUSE_S):
    await asyncio.sleep(pause_s)
    return f"<{thing}>"


async def number(value):
    await asyncio.sleep(PAUSE_S)
    return value


class Connection:
    """One conversation: an answer belongs to the question before it."""

    def __init__(self):
        self.rows = []
        self.line_count = 0

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass

    async def execute(self, query):
        self.rows.append(query)
        await asyncio.sleep(PAUSE_S)
        return len(self.rows)

    async def read_line(self):
        self.line_count += 1
        await asyncio.sleep(PAUSE_S)
        return "line"

    def transaction(self):
        return self


class Api:
    """Asks, and remembers nothing."""

    def __init__(self, base):
        self.base = base

    async def get(self, path):
        return await fetch(self.base + path)


class Session(Api):
    """Remembers who it has logged in."""

    token = None

    async def log_in(self):
        self.token = await fetch("token")
        return self.token

    async def ask(self, path):
        return await fetch(f"{path}?{self.token}")


async def log_in(session):
    session.token = await fetch("token")
    return True


async def save(store, value):
    await asyncio.sleep(PAUSE_S)
    store[value] = True
    return value


async def first_free(store):
    await asyncio.sleep(PAUSE_S)
    return next(iter(store), None)
