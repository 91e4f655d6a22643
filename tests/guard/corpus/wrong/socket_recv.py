import asyncio
import socket
import threading
import time


def answer_later(sock):
    time.sleep(0.4)
    sock.send(b"x")


async def main():
    ours, theirs = socket.socketpair()
    peer = threading.Thread(target=answer_later, args=(theirs,))
    peer.start()
    ours.recv(1)  # wrong: blocked socket.socket.recv -> sock_recv
    await asyncio.to_thread(peer.join)
    ours.close()
    theirs.close()


asyncio.run(main())
