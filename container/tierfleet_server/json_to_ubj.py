"""A JSON model as UBJ, made in a process of its own.

XGBoost's JSON reader takes seconds for a big model and ends the process on some damaged ones, so it runs
where it holds up nobody and only its own process can end. The UBJ it makes is checked like any other.
"""

import os
import subprocess
import sys

from .refusal import BadModel

_TIMEOUT_SECONDS = 300


def json_to_ubj(model: bytes) -> bytes:
    """The UBJ form of a JSON model; raises BadModel if XGBoost cannot read it."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", __spec__.name],
            input=model,
            capture_output=True,
            timeout=_TIMEOUT_SECONDS,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        )
    except subprocess.TimeoutExpired:
        raise BadModel(f"XGBoost took over {_TIMEOUT_SECONDS} s to read this JSON; save it as UBJ") from None
    if done.returncode < 0 or not done.stdout:
        why = done.stderr.decode(errors="replace").strip()[-300:] or f"it ended with signal {-done.returncode}"
        raise BadModel(f"XGBoost does not load this model: {why}")
    return done.stdout


def main() -> int:
    """JSON on standard input, UBJ on standard output, the reason on standard error."""
    from . import native

    try:
        sys.stdout.buffer.write(native.Handle(sys.stdin.buffer.read()).to_ubj())
    except (BadModel, native.XGBoostError, MemoryError) as error:
        sys.stderr.write(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
