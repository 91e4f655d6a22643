"""Compiled versions of what asyncio's programs wait with, on any event loop.

Each is used as its namesake in asyncio is. `meantime` hands them on, where the core is there.
"""
