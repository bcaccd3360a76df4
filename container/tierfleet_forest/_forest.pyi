import os
from collections.abc import Buffer

class ForestError(ValueError): ...

class Forest:
    bytes: int
    features: int
    form: str
    metadata: bytes
    outputs: int
    path_length: int
    scores: int
    sum: str
    trees: int
    def predict(self, rows: Buffer, /) -> list[float]: ...
    def margins(self, rows: Buffer, /) -> list[float]: ...
    def predict_csv(self, body: bytes, /) -> bytes | None: ...

def load(file: str | os.PathLike[str] | int, /) -> Forest: ...
def loads(data: Buffer, /) -> Forest: ...
