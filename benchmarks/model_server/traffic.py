"""Load on a server by wrk, which is fast enough not to be what is measured."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = """
local paths, body, index = {%s}, [[%s]], 0
request = function()
  index = index %% #paths + 1
  return wrk.format("POST", paths[index], {["Content-Type"] = "%s"}, body)
end
done = function(summary, latency, requests)
  local errors = summary.errors
  local form = '\\n{"requests": %%d, "seconds": %%f, "p50": %%f, "p95": %%f, "p99": %%f, "errors": %%d}\\n'
  io.write(string.format(form, summary.requests, summary.duration / 1e6, latency:percentile(50) / 1000,
    latency:percentile(95) / 1000, latency:percentile(99) / 1000,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


@dataclass(frozen=True)
class Traffic:
    """What wrk saw; latencies in milliseconds."""

    requests: int
    seconds: float
    p50: float
    p95: float
    p99: float
    errors: int

    @property
    def per_second(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


def traffic(
    port: int,
    paths: list[str],
    row: bytes,
    *,
    content_type: str,
    connections: int,
    seconds: float,
    script: Path,
) -> Traffic:
    """Send one row to each path in turn, each connection waiting for its reply before it sends again."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit("this benchmark needs wrk (in Debian: apt-get install wrk)")
    script.write_text(_SCRIPT % (", ".join(f'"{path}"' for path in paths), row.decode(), content_type))
    done = subprocess.run(
        [wrk, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s", "-s",
         str(script),
         f"http://127.0.0.1:{port}/"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return Traffic(**json.loads(done.stdout.strip().splitlines()[-1]))
