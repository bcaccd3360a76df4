"""Our contract and store as a raw ASGI application under uvicorn: the HTTP stack that was not chosen.

`python benchmarks/model_server/asgi.py PORT`. It has none of the connection handling of `tierfleet_server.http`.
"""

import os
import sys
from typing import Any

from tierfleet_server.model import heap

heap.use_one_arena()
os.environ["OMP_NUM_THREADS"] = "1"

import uvicorn  # noqa: E402
from tierfleet_server.contract import Contract, Reply, Request  # noqa: E402
from tierfleet_server.metrics import Metrics  # noqa: E402
from tierfleet_server.model.loading import load_model, size_on_disk  # noqa: E402
from tierfleet_server.request_memory import RequestMemory  # noqa: E402
from tierfleet_server.settings import Settings  # noqa: E402
from tierfleet_server.store import Store  # noqa: E402


class App:
    """ASGI in, the contract's requests and replies inside."""

    def __init__(self) -> None:
        store = Store(1 << 34, size_on_disk=size_on_disk, load_model=load_model)
        self._contract = Contract(Settings(multi_model=True), store, Metrics(), RequestMemory(0))

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        message = await receive()
        body = message["body"]
        while message.get("more_body"):
            message = await receive()
            body += message["body"]
        headers = dict(scope["headers"])
        answer = self._contract.answer(
            Request(scope["method"].encode(), scope["raw_path"], scope["query_string"], headers, body)
        )
        reply = answer if isinstance(answer, Reply) else await answer
        sent = [(b"content-type", reply.content_type.encode()), (b"content-length", b"%d" % len(reply.body))]
        await send({"type": "http.response.start", "status": reply.status, "headers": sent})
        await send({"type": "http.response.body", "body": reply.body})


if __name__ == "__main__":
    uvicorn.run(
        App(),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        http="httptools",
        loop="uvloop",
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        date_header=False,
    )
