import asyncio
import http.server
import threading
import time
import urllib.request


class Slow(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(0.4)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


async def main():
    url = f"http://127.0.0.1:{server.server_port}/"
    urllib.request.urlopen(url).close()  # wrong: blocked urllib.request.urlopen -> AsyncClient


server = http.server.HTTPServer(("127.0.0.1", 0), Slow)
threading.Thread(target=server.serve_forever, daemon=True).start()
asyncio.run(main())
server.shutdown()
server.server_close()
