"""The least a webhook can do: read the body, one insert, one commit for whoever waits, answer. `bare_hook.py DATABASE PORT`."""

import asyncio
import gc
import sys

import psycopg
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


class Keeper:
    """Inserts bodies in groups: while one group commits, the next gathers."""

    def __init__(self, database: str) -> None:
        self.connection = psycopg.connect(database)
        self.waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self.flushing: asyncio.Task[None] | None = None

    async def keep(self, body: bytes) -> None:
        """Return when the body is committed."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append((body, done))
        if self.flushing is None:
            self.flushing = asyncio.create_task(self._flush())
        await done

    async def _flush(self) -> None:
        while self.waiting:
            group, self.waiting = self.waiting, []
            await asyncio.to_thread(self._write, [body for body, _ in group])
            for _, done in group:
                done.set_result(None)
        self.flushing = None

    def _write(self, bodies: list[bytes]) -> None:
        self.connection.execute("insert into bare_hooks (body) select unnest(%s::bytea[])", (bodies,))
        self.connection.commit()


def main() -> None:
    """Serve until the process is ended."""
    keeper = Keeper(sys.argv[1])

    async def hook(request: Request) -> Response:
        await keeper.keep(await request.body())
        return Response(b'{"received":true}', media_type="application/json")

    app = Starlette(routes=[Route("/hook", hook, methods=["POST"])])
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    uvicorn.run(
        app, port=int(sys.argv[2]), http="httptools", log_level="critical", access_log=False, server_header=False
    )


if __name__ == "__main__":
    main()
