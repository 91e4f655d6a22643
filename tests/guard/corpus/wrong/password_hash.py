import asyncio
import hashlib


async def main():
    # wrong: blocked hashlib.pbkdf2_hmac -> to_thread(hashlib.scrypt
    hashlib.pbkdf2_hmac("sha256", b"secret", b"salt", 700_000)


asyncio.run(main())
