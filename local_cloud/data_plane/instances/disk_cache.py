"""The artefacts on one instance's disk: the second level of its cache, least recently used first."""

import itertools
import shutil
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Artefact:
    """An unpacked model and the bytes it takes."""

    directory: Path
    size_bytes: int


@dataclass
class DiskCache:
    """Unpacked artefacts by TargetModel, within `budget_bytes`."""

    root: Path
    budget_bytes: int
    models: OrderedDict[str, Artefact] = field(default_factory=OrderedDict)  # least recently used first
    evictions: int = 0
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    @property
    def used_bytes(self) -> int:
        return sum(artefact.size_bytes for artefact in self.models.values())

    @property
    def over(self) -> bool:
        return self.used_bytes > self.budget_bytes

    def new_directory(self) -> Path:
        """A directory for the next artefact, which does not exist yet."""
        return self.root / str(next(self._numbers)) / "model"

    def touch(self, model: str) -> None:
        if model in self.models:
            self.models.move_to_end(model)

    def evict(self, *, pinned: Callable[[str], bool]) -> None:
        """Delete artefacts of models that are not `pinned` until the rest is within the budget."""
        for model in [model for model in self.models if not pinned(model)]:
            if not self.over:
                return
            self.drop(model)
            self.evictions += 1

    def drop(self, model: str) -> None:
        if artefact := self.models.pop(model, None):
            shutil.rmtree(artefact.directory.parent, ignore_errors=True)

    def clear(self) -> None:
        self.models.clear()
        shutil.rmtree(self.root, ignore_errors=True)
