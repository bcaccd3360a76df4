import os
from typing import Any

class ForestError(ValueError): ...

class Forest:
    features: int
    form: str
    metadata: bytes
    outputs: int
    path_length: int
    row_work: int
    scores: int
    size_bytes: int
    sum: str
    trees: int
    def predict(self, rows: Any, /) -> list[float]: ...
    def margins(self, rows: Any, /) -> list[float]: ...
    def predict_csv(self, body: bytes, /) -> bytes | None: ...

def load(file: str | os.PathLike[str] | int, /) -> Forest: ...
def loads(data: bytes | bytearray | memoryview, /) -> Forest: ...
