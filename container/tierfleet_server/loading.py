"""From an extracted artefact to a loaded model."""

from pathlib import Path

from . import artefact
from .booster import BoosterModel, open_model
from .model_file import file_format
from .preprocessing import Preprocessing


def size_on_disk(url: str) -> tuple[int, str]:
    """Bytes of the model file at `url` and its format; raises Refusal or BadModel as loading it would."""
    path = artefact.model_path(Path(url))
    return artefact.file_size(path), file_format(artefact.read_model_file(path, limit_bytes=128))


def load_model(url: str) -> BoosterModel:
    """Load the artefact extracted at `url`; raises Refusal, BadModel or MemoryError and leaves nothing."""
    directory = Path(url)
    path = artefact.model_path(directory)
    metadata = artefact.read_metadata(directory if path != directory else directory.parent)
    data = artefact.read_model_file(path)
    handle, facts = open_model(data)
    preprocessing = metadata.check(data, facts) if metadata is not None else Preprocessing()
    return BoosterModel(handle, facts, preprocessing)
