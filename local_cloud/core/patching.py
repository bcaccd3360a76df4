"""Replacing names of a library that has no hooks, and noticing when an upgrade has changed them.

A private name may change its parameters with any release. A replacement would then be called with other arguments, or
not at all, and the local emulator would give wrong answers. So everything is checked first, and nothing is replaced
unless every name is what it was.
"""

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Patch:
    """One name of a module, or of a class, that gets another value.

    >>> Patch(owner=cloudwatch, name="_evaluate_alarm", was="(alarm)", replacement=evaluate, why="it ignores periods")
    """

    owner: Any
    """The module or class whose attribute is replaced."""

    name: str
    """The attribute; or `attribute[key]`, an entry of a dict."""

    was: str
    """The `shape` of what the library has there."""

    replacement: Any

    why: str
    """What the library's own does that AWS does not."""

    def apply(self) -> None:
        attribute, key = _split(self.name)
        if key is None:
            setattr(self.owner, attribute, self.replacement)
        else:
            getattr(self.owner, attribute)[key] = self.replacement


class PatchError(RuntimeError):
    """The library is not the one that the patches were written for; the message lists every difference."""


def apply(patches: Iterable[Patch], uses: Mapping[str, Mapping[str, str]], library: str) -> None:
    """Replace every name, or raise PatchError and replace none.

    `uses` has what is called and read, by module and name, with its `shape`. `library` names the library and its
    version in the message. Patches that are applied already are left as they are.
    """
    patches = list(patches)
    if problems := differences(patches, uses):
        raise PatchError(
            f"{library} is not what local_cloud patches:\n  "
            + "\n  ".join(problems)
            + "\nInstall the version that requirements-local.txt pins, or bring local_cloud/patches.py and "
            "local_cloud/core/ministack_names.py up to this one: read each name's code first."
        )
    for patch in patches:
        patch.apply()


def differences(patches: Iterable[Patch], uses: Mapping[str, Mapping[str, str]]) -> list[str]:
    """One sentence for each name that is gone or has another shape."""
    problems = []
    for patch in patches:
        here = value(patch.owner, patch.name)
        if here is not patch.replacement:
            problems += _difference(patch.owner.__name__, patch.name, patch.was, here)
    for module, names in uses.items():
        owner = _module(module)
        for name, was in names.items():
            problems += _difference(module, name, was, value(owner, name))
    return problems


def shape(thing: Any) -> str:
    """A callable's parameters with their defaults, without annotations; of anything else the type's name.

    >>> shape(lambda name, body=None: None)
    '(name, body=None)'
    """
    if not callable(thing):
        return type(thing).__name__
    signature = inspect.signature(thing)
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


_MISSING = object()


def value(owner: Any, name: str) -> Any:
    """The value of a name in a module or class: `attribute`, `attribute.attribute` or `attribute[key]`."""
    attributes, key = _split(name)
    for attribute in attributes.split("."):
        owner = getattr(owner, attribute, _MISSING)
    if key is None or owner is _MISSING:
        return owner
    return owner.get(key, _MISSING)


def _split(name: str) -> tuple[str, str | None]:
    attribute, bracket, key = name.partition("[")
    return attribute, key.removesuffix("]") if bracket else None


def _difference(owner: str, name: str, was: str, here: Any) -> list[str]:
    if here is _MISSING:
        return [f"{owner}.{name} is gone; it was {was}"]
    if (now := shape(here)) != was:
        return [f"{owner}.{name} is {now}; it was {was}"]
    return []


def _module(name: str) -> ModuleType | None:
    try:
        return __import__(name, fromlist=["_"])
    except ImportError:
        return None
