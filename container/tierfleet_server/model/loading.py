"""From an extracted artefact to a loaded model."""

import threading
from collections.abc import Callable
from pathlib import Path

from . import artefact, native
from .booster import BoosterModel, Model, open_checked
from .flat_forest import FORM, find_forest, is_forest, load_forest
from .load_limits import Admitted
from .memory_file import unmap
from .model_file import file_format
from .prepared import Prepared, prepare, take

# In this process XGBoost reads one small and one large model at a time, because these threads compete with requests.
_loading = {False: threading.Lock(), True: threading.Lock()}


def size_on_disk(url: str) -> Admitted:
    """Bytes and format of what is at `url`; raises Refusal or BadModel as loading it would."""
    path = find_forest(Path(url)) or artefact.model_path(Path(url))
    file, size = artefact.open_model_file(path)
    with file:
        head = artefact.read(file, 128)
        form = FORM if is_forest(head) else file_format(head)
        return Admitted(size, form, artefact.metadata_bytes(artefact.root_of(path)))


def _prepare_here(url: str, admitted: Admitted) -> Prepared:
    return prepare(url, native.version(), admitted.size_bytes)


def load_model(
    url: str, admitted: Admitted | None = None, prepare: Callable[[str, Admitted], Prepared] = _prepare_here
) -> Model:
    """Load the artefact extracted at `url`; raises Refusal, BadModel or MemoryError and leaves nothing.

    `prepare` finds and checks it: in this process, or for a server in another (`checker`), within what was `admitted`.
    A flat forest is read and checked here.
    """
    admitted = admitted or size_on_disk(url)
    if admitted.form == FORM:
        return load_forest(find_forest(Path(url)) or artefact.model_path(Path(url)), admitted)
    prepared = prepare(url, admitted)
    with _loading[prepared.held_in_file]:
        data = take(prepared.held)
        try:
            handle = open_checked(data, prepared.facts)
        finally:
            unmap(data)
    return BoosterModel(handle, prepared.facts, prepared.preprocessing, prepared.heap_bytes)
