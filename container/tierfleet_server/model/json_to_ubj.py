"""Converts a JSON model to UBJ in a separate process.

XGBoost's JSON reader takes seconds for a big model, many times its memory for a hostile one, and ends the process on
some damaged ones, so it runs under limits where only its own process can end. The UBJ it makes is checked like any.
"""

import os
import re
import signal
import subprocess
import sys

from .load_limits import Admitted, apply_to_this_process
from .memory_file import SMALL_BYTES, bytes_of, empty_memory_file, seal
from .refusal import BadModel
from .ubj import Bytes

# A model that XGBoost wrote has a bracket in 25 bytes or more, and a comma in 7; see tests/container.
_BYTES_PER_BRACKET, _FREE_BRACKETS = 16, 64
_BYTES_PER_COMMA, _FREE_COMMAS = 4, 64
_BLOCK_BYTES = 1 << 20
_NO_SPACE = re.compile(rb"\S")


def json_to_ubj(model: Bytes) -> bytes | int:
    """The UBJ form of a JSON model, or an open file that holds it; raises BadModel if XGBoost cannot read it."""
    _refuse_what_is_no_model(model)
    admitted = Admitted(len(model), "json")
    given, made = _given(model), empty_memory_file()
    try:
        _run(given, made, admitted)
        seal(made)
        if os.fstat(made).st_size > SMALL_BYTES:
            return os.dup(made)
        with open(made, "rb", closefd=False) as file:
            file.seek(0)
            return file.read()
    finally:
        os.close(given)
        os.close(made)


def _refuse_what_is_no_model(model: Bytes) -> None:
    brackets = commas = 0
    for at in range(0, len(model), _BLOCK_BYTES):
        block = model[at : at + _BLOCK_BYTES]
        brackets += block.count(b"{") + block.count(b"[")
        commas += block.count(b",")
    if (
        brackets > _FREE_BRACKETS + len(model) // _BYTES_PER_BRACKET
        or commas > _FREE_COMMAS + len(model) // _BYTES_PER_COMMA
    ):
        raise BadModel(
            f"the JSON has {brackets} brackets and {commas} commas in {len(model)} bytes, far more than a model; "
            "save it as UBJ with Booster.save_model('model.ubj')"
        )


def _given(model: Bytes) -> int:
    # XGBoost tells JSON from UBJ by its second byte, which may be a space here.
    file = empty_memory_file()
    begins = _NO_SPACE.search(model, 1)
    with open(file, "wb", closefd=False) as out, memoryview(model) as view:
        out.write(b"{")
        out.write(view[begins.start() if begins else 1 :])
    return file


def _run(given: int, made: int, admitted: Admitted) -> None:
    limit = f"more than {admitted.process_bytes >> 20} MiB or {admitted.cpu_seconds} s"
    try:
        done = subprocess.run(
            [sys.executable, "-m", __spec__.name, str(given), str(made)],
            pass_fds=(given, made),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=admitted.clock_seconds,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1",
                 "OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise BadModel(f"XGBoost took over {admitted.clock_seconds} s to read this JSON; save it as UBJ") from None
    if done.returncode in (_NO_MEMORY, -signal.SIGXCPU, -signal.SIGKILL):
        raise BadModel(
            f"reading this JSON of {admitted.size_bytes} bytes takes {limit}, which no model of that size does; "
            "save it as UBJ with Booster.save_model('model.ubj')"
        )
    if done.returncode or not os.fstat(made).st_size:
        why = done.stderr.decode(errors="replace").strip()[-400:]
        raise BadModel(why or f"XGBoost does not load this model: it ended with signal {-done.returncode}")


_NO_MEMORY = 3


def main() -> int:
    """From the one open file to the other; the reason for a refusal on standard error."""
    from . import heap, native

    heap.use_one_arena()
    given, made = (int(number) for number in sys.argv[1:])
    data = bytes_of(given)
    apply_to_this_process(Admitted(len(data), "json"))
    try:
        ubj = native.Handle(data).to_ubj()
        with open(made, "wb", closefd=False) as out:
            out.write(ubj)
    except MemoryError:
        return _NO_MEMORY
    except (BadModel, native.XGBoostError) as error:
        sys.stderr.write(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
