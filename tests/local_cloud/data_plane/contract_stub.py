"""`python contract_stub.py PORT [ROOM]`: a container that speaks the contract and has room for so many models.

With NEVER_HEALTHY its /ping answers 503; with ENDS it ends at once, with a reason; with MIB_PER_MODEL a model takes so
much memory.
"""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Container(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    models: dict[str, str] = {}  # noqa: RUF012 - one server a process
    memory: dict[str, bytes] = {}  # noqa: RUF012
    room = int(sys.argv[2]) if len(sys.argv) > 2 else 1

    def do_GET(self) -> None:
        self.answer(503 if "NEVER_HEALTHY" in os.environ else 200)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/models":
            asked = json.loads(body)
            if len(self.models) >= self.room:
                self.answer(507)
                return
            self.models[asked["model_name"]] = asked["url"]
            self.memory[asked["model_name"]] = os.urandom(int(os.environ.get("MIB_PER_MODEL", "0")) * 1024 * 1024)
            self.answer(200)
            return
        name = self.path.removeprefix("/models/").removesuffix("/invoke")
        self.answer(200 if name in self.models else 404, self.models.get(name, "").encode())

    def do_DELETE(self) -> None:
        self.models.pop(self.path.removeprefix("/models/"))
        self.memory.pop(self.path.removeprefix("/models/"))
        self.answer(200)

    def answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    if "ENDS" in os.environ:
        sys.exit("cannot find its libraries")
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Container).serve_forever()
