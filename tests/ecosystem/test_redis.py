"""redis-py: a client on asyncio's streams, against a real Redis server."""

import asyncio
import contextlib

import pytest
import redis.asyncio

pytestmark = pytest.mark.slow


@contextlib.asynccontextmanager
async def client_of(port):
    client = redis.asyncio.Redis(port=port)
    try:
        yield client
        await client.flushdb()
    finally:
        await client.aclose()


def test_what_was_set_can_be_got(run, redis_port):
    async def main():
        async with client_of(redis_port) as client:
            await client.set("key", "value " * 100_000)
            return await client.get("key")

    assert run(main()) == b"value " * 100_000


def test_a_pipeline_answers_in_order(run, redis_port):
    async def main():
        async with client_of(redis_port) as client, client.pipeline() as pipeline:
            for number in range(500):
                pipeline.rpush("numbers", number)
            lengths = await pipeline.execute()
            return lengths, await client.lrange("numbers", 0, -1)

    lengths, numbers = run(main())
    assert lengths == list(range(1, 501))
    assert [int(number) for number in numbers] == list(range(500))


def test_many_connections_count_together(run, redis_port):
    async def main():
        async with client_of(redis_port) as client:
            await asyncio.gather(*[client.incr("count") for _ in range(100)])
            return await client.get("count")

    assert run(main()) == b"100"


def test_a_subscriber_hears_what_is_published(run, redis_port):
    async def main():
        async with client_of(redis_port) as client, client.pubsub() as subscriber:
            await subscriber.subscribe("news")
            heard = []

            async def listen():
                async for message in subscriber.listen():
                    if message["type"] == "message":
                        heard.append(message["data"])
                    if len(heard) == 3:
                        return

            listening = asyncio.create_task(listen())
            while not (await client.pubsub_numsub("news"))[0][1]:
                await asyncio.sleep(0.01)
            for word in ("one", "two", "three"):
                await client.publish("news", word)
            await listening
            return heard

    assert run(main()) == [b"one", b"two", b"three"]


def test_a_cancelled_wait_leaves_the_client_usable(run, redis_port):
    async def main():
        async with client_of(redis_port) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await client.blpop("nothing comes", timeout=30)
            return await client.ping()

    assert run(main()) is True
