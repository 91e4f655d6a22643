import asyncio


async def take(first, second):
    async with first:
        await asyncio.sleep(0.01)
        async with second:  # wrong: deadlock * -> never set
            pass


async def main():
    one, other = asyncio.Lock(), asyncio.Lock()
    await asyncio.gather(take(one, other), take(other, one))


asyncio.run(main())
