"""Two subscribers' servers in one process: `endpoints.py PORT SECONDS LOG`; each call's arrival is a line of the log.

A call is answered after so many seconds. A line is: path, webhook-id, time of arrival, event's code.
"""

import asyncio
import json
import sys
import time
from typing import cast

import uvloop


async def main(port: int, seconds: float, log: str) -> None:
    """Serve until the process is ended."""
    with open(log, "a", buffering=1) as out:

        class Server(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                self.transport = cast(asyncio.Transport, transport)
                self.data = b""

            def data_received(self, data: bytes) -> None:
                self.data += data
                head, found, body = self.data.partition(b"\r\n\r\n")
                if not found:
                    return
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
                if len(body) < length:
                    return
                self.data = b""
                path = head.split(b" ", 2)[1].decode()
                number = head.lower().partition(b"webhook-id:")[2].partition(b"\r\n")[0].strip().decode()
                out.write(f"{path} {number} {time.time():.6f} {json.loads(body)['data'].get('code')}\n")
                if seconds:
                    asyncio.get_running_loop().call_later(seconds, self._answer)
                else:
                    self._answer()

            def _answer(self) -> None:
                if not self.transport.is_closing():
                    self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", port, backlog=2048)
        print("ready", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]))
