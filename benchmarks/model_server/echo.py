"""Servers that do nothing: what HTTP itself costs. `python benchmarks/model_server/echo.py httptools|asgi PORT`."""

import asyncio
import sys
from typing import Any

import httptools
import uvloop

_REPLY = b"HTTP/1.1 200 OK\r\ncontent-type: text/csv\r\ncontent-length: 18\r\n\r\n0.9792783260345459"


class Echo(asyncio.Protocol):
    """Parses each request and writes the same reply."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._transport.write(_REPLY)


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The same as a raw ASGI application."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"text/csv"), (b"content-length", b"18")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"0.9792783260345459"})


async def serve(port: int) -> None:
    """Serve on loopback until killed."""
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    kind, port = sys.argv[1], int(sys.argv[2])
    if kind == "httptools":
        uvloop.run(serve(port))
    else:
        import uvicorn

        uvicorn.run(
            app,
            host="127.0.0.1",
            port=port,
            http="httptools",
            loop="uvloop",
            lifespan="off",
            access_log=False,
            log_level="warning",
            server_header=False,
            date_header=False,
        )
