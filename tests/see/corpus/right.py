"""Functions whose awaits look as if they could be at once, and must be as they are."""

import asyncio
import contextlib
import functools
import time

from tests.see.corpus.services import (
    PAUSE_S,
    Connection,
    Session,
    fetch,
    first_free,
    log_in,
    number,
    save,
)

LOCK = asyncio.Lock()
SEMAPHORE = asyncio.Semaphore(1)
CONNECTION = Connection()
SEEN = []
STATE = {"turn": 0}
counter = 0


async def uses_the_first_result():
    user = await fetch("user")
    posts = await fetch("posts of " + user)
    return posts


async def uses_the_first_result_by_a_detour():
    user = await fetch("user")
    name = user.strip("<>")
    path = f"/posts/{name}"
    posts = await fetch(path)
    return posts


async def decides_by_the_first_result():
    user = await fetch("user")
    if not user:
        return None
    posts = await fetch("posts")
    return user, posts


async def checks_the_first_result():
    user = await fetch("user")
    assert user
    posts = await fetch("posts")
    return user, posts


async def asks_one_connection_twice():
    connection = Connection()
    first = await connection.execute("select 1")
    second = await connection.execute("select 2")
    return first, second


async def query(connection, text):
    return await connection.execute(text)


async def hands_one_connection_on():
    connection = Connection()
    first = await query(connection, "select 1")
    second = await query(connection, "select 2")
    return first, second


async def ask_the_global_connection(text):
    return await CONNECTION.execute(text)


async def uses_a_global_connection():
    first = await ask_the_global_connection("select 1")
    second = await ask_the_global_connection("select 2")
    return first, second


async def is_in_a_transaction():
    async with Connection().transaction():
        first = await fetch("begin")
        second = await fetch("end")
    return first, second


async def is_under_a_lock():
    async with LOCK:
        first = await fetch("first")
        second = await fetch("second")
    return first, second


async def takes_turns(thing):
    async with SEMAPHORE:
        return await fetch(thing)


async def calls_what_takes_turns():
    first = await takes_turns("first")
    second = await takes_turns("second")
    return first, second


async def keeps_a_rate():
    pages = []
    for page in range(3):
        pages.append(await fetch(page))
        await asyncio.sleep(PAUSE_S)
    return pages


async def keeps_a_rate_between_two():
    first = await fetch("first")
    await asyncio.sleep(PAUSE_S)
    second = await fetch("second")
    return first, second


async def drains_a_writer():
    reader, writer = await echo_connection()
    answers = []
    for _ in range(2):
        writer.write(b"ping\n")
        await writer.drain()
        answers.append(await slow_line(reader))
    writer.close()
    await writer.wait_closed()
    return answers


async def slow_line(reader):
    await asyncio.sleep(PAUSE_S)
    return await reader.readline()


async def echo_connection():
    async def echo(reader, writer):
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    streams = await asyncio.open_connection(*server.sockets[0].getsockname())
    server.close()
    return streams


async def stops_at_the_first_that_fits():
    for mirror in ("a", "b", "c"):
        page = await fetch(mirror)
        if "c" in page:
            break
    return page


async def returns_the_first_that_fits():
    for mirror in ("a", "b", "c"):
        page = await fetch(mirror)
        if "c" in page:
            return page
    return None


async def adds_up():
    total = 0
    for step in (1, 2, 3):
        total = await number(total + step)
    return total


async def follows_links():
    pages = []
    link = "a"
    for _ in range(3):
        page = await fetch(link)
        pages.append(page)
        link = page + "next"
    return pages


async def follows_a_growing_list():
    links = ["a"]
    for link in links:
        page = await fetch(link)
        if len(links) < 3:
            links.append(page)
    return links


async def skips_what_earlier_ones_have_seen():
    seen = set()
    for link in ("a", "b", "<a>", "c"):
        if link in seen:
            continue
        page = await fetch(link)
        seen.add(page)
    return seen


async def tries_the_second_if_the_first_works():
    try:
        first = await fetch("first")
        second = await fetch("second")
    except OSError:
        return None
    return first, second


async def tries_again():
    for _ in range(2):
        with contextlib.suppress(OSError):
            answer = await fetch("answer")
    return answer


async def wants_the_effect_only():
    await fetch("create tables")
    await fetch("insert rows")
    await fetch("start")


async def changes_a_session_first():
    session = Session("/")
    is_known = await log_in(session)
    posts = await session.ask("posts")
    return is_known, posts


async def logs_in_by_a_method():
    session = Session("/")
    token = await session.log_in()
    posts = await session.ask("posts")
    return token, posts


async def fills_a_store():
    store = {}
    saved = await save(store, "soup")
    found = await first_free(store)
    return saved, found


async def remembers():
    SEEN.append("x")
    await asyncio.sleep(PAUSE_S)
    return len(SEEN)


async def changes_a_global_list():
    first = await remembers()
    second = await remembers()
    return first, second


async def count():
    global counter
    counter += 1
    mine = counter
    await asyncio.sleep(PAUSE_S)
    return mine


async def changes_a_global_number():
    first = await count()
    second = await count()
    return first, second


async def sets_what_the_second_reads():
    first = await number(1)
    STATE["turn"] = first
    second = await reads_state()
    return first, second


async def reads_state():
    await asyncio.sleep(PAUSE_S)
    return STATE["turn"]


async def closes_over_the_first_result():
    token = None

    async def ask(path):
        return await fetch(f"{path}?{token}")

    token = await fetch("token")
    page = await ask("page")
    return page


async def awaits_tasks_that_run_already():
    first = asyncio.create_task(fetch("first"))
    second = asyncio.create_task(fetch("second"))
    one = await first
    await asyncio.sleep(PAUSE_S)
    two = await second
    return one, two


async def waits_for_tasks_that_run_already():
    first = asyncio.create_task(fetch("first"))
    second = asyncio.create_task(fetch("second", 2 * PAUSE_S))
    one = await asyncio.wait_for(first, 5)
    two = await asyncio.wait_for(second, 5)
    return one, two


async def takes_from_a_queue():
    queue = asyncio.Queue()
    producer = asyncio.create_task(produce(queue))
    first = await queue.get()
    second = await queue.get()
    await producer
    return first, second


async def produce(queue):
    for item in (1, 2):
        await asyncio.sleep(PAUSE_S)
        await queue.put(item)


async def reads_lines():
    connection = Connection()
    lines = [await connection.read_line() for _ in range(3)]
    return lines


async def may_not_need_the_second():
    answer = await fetch("") and await fetch("second")
    other = await fetch("third") if answer else None
    return answer, other


async def measures_the_time():
    started = time.monotonic()
    page = await fetch("page")
    spent_s = time.monotonic() - started
    pause = await number(spent_s)
    return page, pause


def one_at_a_time(function):
    @functools.wraps(function)
    async def wait_for_turn(*arguments):
        async with LOCK:
            return await function(*arguments)

    return wait_for_turn


@one_at_a_time
async def limited(thing):
    return await fetch(thing)


async def calls_what_a_decorator_orders():
    first = await limited("first")
    second = await limited("second")
    return first, second


async def asks_a_person():
    first = await asyncio.to_thread(answer_of, "name")
    second = await asyncio.to_thread(answer_of, "age")
    return first, second


def answer_of(question):
    time.sleep(PAUSE_S)
    return question if STATE else input(question)


async def looks_at_its_names():
    connection = Connection()
    first = await query(connection, "select 1")
    second = await query(connection, "select 2")
    return locals(), first, second


async def gives_results():
    yield await fetch("first")
    yield await fetch("second")


async def yields_between():
    return [result async for result in gives_results()]


async def asks_a_shared_pair():
    pair = (Connection(), 1)
    first = await ask_pair(pair)
    second = await ask_pair(pair)
    return first, second


async def ask_pair(pair):
    return await pair[0].execute("select")


async def polls():
    for _ in range(3):
        state = await fetch("state")
    return state


async def tells_somebody_between():
    event = asyncio.Event()
    other = asyncio.create_task(follow(event))
    first = await fetch("first")
    event.set()
    second = await fetch("second")
    return first, second, await other


async def follow(event):
    await event.wait()
    return await fetch("other")


async def calls_what_it_was_given(steps=(fetch, fetch)):
    handlers = {"a": steps[0], "b": steps[1]}
    first = await handlers["a"]("first")
    second = await handlers["b"]("second")
    return first, second


async def calls_parts_of_one_connection():
    connection = Connection()
    ask = functools.partial(query, connection, "select 1")
    tell = functools.partial(query, connection, "select 2")
    first = await ask()
    second = await tell()
    return first, second


class Users:
    def __init__(self, connection):
        self.connection = connection

    async def first(self):
        return await self.connection.execute("select user")


class Posts(Users):
    pass


async def has_two_faces_of_one_connection():
    connection = Connection()
    users, posts = Users(connection), Posts(connection)
    first = await users.first()
    second = await posts.first()
    return first, second


async def changes_something_far_away():
    first = await post("user")
    second = await post("order")
    return first, second


async def post(thing):
    async with Remote() as remote:
        return await remote.post(thing)


class Remote(Connection):
    async def post(self, thing):
        await asyncio.sleep(PAUSE_S)
        return thing


async def takes_from_one_list():
    left = ["a", "b"]
    first = await fetch(left.pop())
    second = await fetch(left.pop())
    return first, second


async def goes_through_pages_of_pages():
    pages = []
    for chapter in ("a", "b"):
        for page in (1, 2):
            pages.append(await fetch(f"{chapter}{page}"))
            await asyncio.sleep(0)
    return pages


FUNCTIONS = [
    polls,
    tells_somebody_between,
    calls_what_it_was_given,
    calls_parts_of_one_connection,
    has_two_faces_of_one_connection,
    changes_something_far_away,
    takes_from_one_list,
    goes_through_pages_of_pages,
    uses_the_first_result,
    uses_the_first_result_by_a_detour,
    decides_by_the_first_result,
    checks_the_first_result,
    asks_one_connection_twice,
    hands_one_connection_on,
    uses_a_global_connection,
    is_in_a_transaction,
    is_under_a_lock,
    calls_what_takes_turns,
    keeps_a_rate,
    keeps_a_rate_between_two,
    drains_a_writer,
    stops_at_the_first_that_fits,
    returns_the_first_that_fits,
    adds_up,
    follows_links,
    follows_a_growing_list,
    skips_what_earlier_ones_have_seen,
    tries_the_second_if_the_first_works,
    tries_again,
    wants_the_effect_only,
    changes_a_session_first,
    logs_in_by_a_method,
    fills_a_store,
    changes_a_global_list,
    changes_a_global_number,
    sets_what_the_second_reads,
    closes_over_the_first_result,
    awaits_tasks_that_run_already,
    waits_for_tasks_that_run_already,
    takes_from_a_queue,
    reads_lines,
    may_not_need_the_second,
    measures_the_time,
    calls_what_a_decorator_orders,
    asks_a_person,
    looks_at_its_names,
    yields_between,
    asks_a_shared_pair,
]
