"""The stock stack as a container of the emulator: multi-model-server with an XGBoost handler, within a memory budget.

`python -m benchmarks.cache.stock PORT MIB` is what `--container-command` runs. multi-model-server takes no port above
32767 and knows no budget: this passes requests on, and answers a LOAD with 507 once the next model would not fit into
the budget, as far as the processes have grown since they started with no model. The rest of the stack (a Java server
and a Python process) is not counted.
"""

import http.server
import json
import signal
import sys
import threading

from benchmarks.model_server import processes


def main() -> None:
    budget_mib = float(sys.argv[2])
    with processes.running(processes.peer()) as stock:
        idle_mib = stock.memory_mib()
        grown_by_mib = [0.0]  # by each load so far
        one_load = threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(*stock.ask("GET", self.path))

            def do_DELETE(self) -> None:
                self._answer(*stock.ask("DELETE", self.path))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.path == "/models":
                    with one_load:
                        self._answer(*self._load(body))
                else:
                    self._answer(*stock.ask("POST", self.path, body, stock.content_type))

            def _load(self, body: bytes) -> tuple[int, bytes]:
                before = stock.memory_mib()
                if before - idle_mib + max(grown_by_mib) > budget_mib:
                    return 507, json.dumps({"message": "no memory for another model"}).encode()
                answer = stock.ask("POST", "/models", body, "application/json")
                grown_by_mib.append(stock.memory_mib() - before)
                return answer

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        server.serve_forever(0.05)


if __name__ == "__main__":
    main()
