"""Functions whose awaits need not be one after the other, each with what it would save."""

import asyncio
import time

import aiohttp

from tests.see.corpus.services import PAUSE_S, Api, fetch, number

PRICES = {"soup": 3, "eggs": 2}
WANTED = []


def saves(pauses):
    """Note a function, and how many pauses it would save."""

    def note(function):
        WANTED.append((function, pauses * PAUSE_S))
        return function

    return note


@saves(1)
async def two_in_a_row():
    user = await fetch("user")
    news = await fetch("news")
    return user, news


@saves(3)
async def three_of_different_length():
    soup = await fetch("soup", 2 * PAUSE_S)
    potatoes = await fetch("potatoes", 3 * PAUSE_S)
    eggs = await fetch("eggs", PAUSE_S)
    return soup, potatoes, eggs


@saves(2)
async def a_loop():
    pages = []
    for link in ("a", "b", "c"):
        page = await fetch(link)
        pages.append(page)
    return pages


@saves(2)
async def a_comprehension():
    return [await fetch(link) for link in ("a", "b", "c")]


@saves(1)
async def a_dictionary():
    return {thing: await fetch(thing) for thing in ("a", "b")}


@saves(1)
async def one_expression():
    return await number(1) + await number(2)


@saves(1)
async def with_a_line_between():
    user = await fetch("user")
    print(f"{user} has come")
    link = "/" + "news"
    news = await fetch(link)
    return user, news


@saves(1)
async def reading_the_same_prices():
    soup = await price("soup")
    eggs = await price("eggs")
    return soup + eggs


async def price(dish):
    await asyncio.sleep(PAUSE_S)
    return PRICES[dish]


@saves(1)
async def on_one_client():
    async with aiohttp.ClientSession() as session:
        first = await load(session, "first")
        second = await load(session, "second")
    return first, second


async def load(session, thing):
    assert not session.closed
    return await fetch(thing)


@saves(1)
async def methods_of_an_object_without_memory():
    api = Api("/api")
    user = await api.get("/user")
    news = await api.get("/news")
    return user, news


@saves(1)
async def in_threads():
    first = await asyncio.to_thread(slow_function, 1)
    second = await asyncio.to_thread(slow_function, 2)
    return first, second


def slow_function(value):
    time.sleep(PAUSE_S)
    return value


@saves(1)
async def two_chains_the_second_of_which_waits_for_the_first():
    user = await fetch("user")
    news = await fetch("news")
    posts = await fetch(f"posts of {user}")
    return user, news, posts


@saves(1)
async def put_into_one_collection():
    found = {}
    found["user"] = await fetch("user")
    found["news"] = await fetch("news")
    return found


@saves(1)
async def under_time_limits():
    async with asyncio.timeout(5):
        user = await asyncio.wait_for(fetch("user"), 2)
        news = await asyncio.wait_for(fetch("news"), 2)
    return user, news


@saves(2)
async def a_loop_that_leaves_some_out():
    pages = []
    for link in ("a", "", "b", "c"):
        if not link:
            continue
        page = await fetch(link)
        if page:
            pages.append(page)
    return pages


@saves(1)
async def with_a_conclusion():
    try:
        user = await fetch("user")
        news = await fetch("news")
    finally:
        print("asked")
    return user, news
