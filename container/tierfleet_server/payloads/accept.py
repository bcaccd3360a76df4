"""What an Accept header asks for (RFC 9110, 12.5.1)."""

import re
from functools import lru_cache
from typing import NamedTuple

from ..model.refusal import Refusal, shown

CSV, JSON, JSON_LINES, NPY = "text/csv", "application/json", "application/jsonlines", "application/x-npy"
CONTENT_TYPES = (CSV, JSON, JSON_LINES, NPY)
_MAX_CHARACTERS = 2048
_OWS = " \t"
# Commas and semicolons in quotes do not separate.
_RANGES = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*+"|")++')
_PARAMETERS = re.compile(r'(?:[^;"]|"(?:[^"\\]|\\.)*+"|")++')
# The RFC wants a leading digit and three decimals at most; Java's own client sends `q=.2`.
_WEIGHT = re.compile(r"0?\.[0-9]{1,16}|0\.?|1(?:\.0{0,16})?")


class Wanted(NamedTuple):
    """The format of a reply. `contribs`: with the contribution of every feature to every score."""

    content_type: str
    contribs: bool = False


class _Range(NamedTuple):
    """A part of the header: a media type, or many by `*`."""

    name: str
    weight: float
    contribs: bool


@lru_cache(maxsize=256)
def wanted(accept: str, default: str) -> Wanted:
    """The supported format with the highest weight, `default` among equals; raises Refusal (406) if there is none.

    `application/json; contribs=true` asks for contributions, which come in no other content type.
    """
    if len(accept) > _MAX_CHARACTERS:
        raise Refusal(406, f"Accept has more than {_MAX_CHARACTERS} characters; ask for one content type")
    ranges = [_range(text, accept) for text in _RANGES.findall(accept.lower()) if text.strip(_OWS)]
    if not ranges:
        return Wanted(default)
    forms = [Wanted(default), *(Wanted(name) for name in CONTENT_TYPES if name != default), Wanted(JSON, contribs=True)]
    preferred = max(forms, key=lambda form: _preference(form, ranges))  # the first of equals
    if _preference(preferred, ranges)[0] > 0:
        return preferred
    if any(one.contribs and one.weight > 0 for one in ranges):
        raise Refusal(
            406, f"Accept {shown(accept)} is not possible: contributions are written as JSON alone; "
            f"ask for {JSON}; contribs=true",
        )  # fmt: skip
    raise Refusal(406, f"Accept {shown(accept)} is not possible; ask for one of {', '.join(CONTENT_TYPES)}")


def _range(text: str, accept: str) -> _Range:
    name, _, parameters = text.partition(";")
    weight, contribs = 1.0, False
    for parameter in _PARAMETERS.findall(parameters):
        key, _, value = parameter.strip(_OWS).partition("=")
        if key == "q":
            if _WEIGHT.fullmatch(value) is None:
                raise Refusal(406, f"Accept {shown(accept)} has the weight {shown(value)}; it must be from 0 to 1")
            weight = float(value)
        elif key == "contribs":
            if value.strip('"') not in ("true", "false"):
                raise Refusal(406, f"Accept {shown(accept)} has contribs={shown(value)}; it must be true or false")
            contribs = value.strip('"') == "true"
    return _Range(name.strip(_OWS), weight, contribs)


def _preference(form: Wanted, ranges: list[_Range]) -> tuple[float, int]:
    """The weight and the position of the range that fits a format most closely; 0 if none fits."""
    names = (form.content_type, f"{form.content_type.split('/')[0]}/*", "*/*")
    fits = [(names.index(one.name), at) for at, one in enumerate(ranges)
            if one.contribs == form.contribs and one.name in names]  # fmt: skip
    if not fits:
        return 0.0, 0
    _, at = min(fits)
    return ranges[at].weight, -at
