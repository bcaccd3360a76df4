import os
from typing import Any

class ForestError(ValueError): ...

class Forest:
    contribution_bytes: int
    contribution_work: int
    depth: int
    features: int
    form: str
    metadata: bytes
    metadata_bytes: int
    no_contributions: str
    outputs: int
    path_length: int
    row_work: int
    scores: int
    size_bytes: int
    sum: str
    trees: int
    def predict(self, rows: Any, /) -> list[float]: ...
    def margins(self, rows: Any, /) -> list[float]: ...
    def contributions(self, rows: Any, /) -> bytes: ...
    def predict_csv(self, body: bytes, /) -> bytes | None: ...

def load(file: str | os.PathLike[str] | int, /, *, work_us: int = 0) -> Forest: ...
def loads(data: bytes | bytearray | memoryview, /) -> Forest: ...
def csv_rows(body: bytes, start: int, stop: int, features: int, out: Any, /) -> tuple[int, int]: ...
def csv_text(numbers: list[float], columns: int, /) -> bytes: ...
