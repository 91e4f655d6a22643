import asyncio


def fibonacci(n):  # wrong: blocked * -> to_process
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


async def main():
    fibonacci(33)


asyncio.run(main())
