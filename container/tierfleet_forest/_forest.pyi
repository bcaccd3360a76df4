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

def load(file: str | os.PathLike[str] | int, /) -> Forest: ...
def loads(data: bytes | bytearray | memoryview, /) -> Forest: ...
