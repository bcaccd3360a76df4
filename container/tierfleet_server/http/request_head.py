"""The head of a request by RFC 9110 and RFC 9112, for the rules that llhttp does not check.

llhttp refuses what could hide a second request: bare CR or LF, folded lines, NUL, a space before the colon, two
lengths, a length with a transfer coding. It accepts HTTP/0.9, 2.0, RTSP and ICE, any transfer codings before
`chunked`, and does not check Host, targets and what this server can decode.
"""

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address

from ..model.refusal import Refusal, shown

MAX_HEAD_BYTES = 32 * 1024
MAX_HEADER_LINES = 100

_REQUEST_LINE = re.compile(rb"(?:\r\n)*([!-~]+) ([!-~]+) HTTP/1\.([01])\r\n")

# RFC 3986: pchar, and the further characters of a query. `++` keeps a bad target from being tried in many ways.
_PCHAR = rb"A-Za-z0-9\-._~!$&'()*+,;=:@"
_ORIGIN = re.compile(
    rb"((?:/(?:[%s]++|%%[0-9A-Fa-f]{2})*+)++)(?:\?((?:[%s/?]++|%%[0-9A-Fa-f]{2})*+))?" % ((_PCHAR,) * 2)
)
_ABSOLUTE = re.compile(rb"https?://([^/?#]*+)(.*)", re.IGNORECASE)
_HOST = re.compile(
    rb"(?:\[(?:([0-9A-Fa-f:.]++)|[vV][0-9A-Fa-f]++\.[A-Za-z0-9\-._~!$&'()*+,;=:]++)\]"
    rb"|(?:[A-Za-z0-9\-._~!$&'()*+,;=]++|%[0-9A-Fa-f]{2})*+)(?::[0-9]*+)?"
)
_MAX_HOST_BYTES = 255 + 6

# Headers that may not repeat. Others that repeat are one list, in their order (RFC 9110, 5.3).
_SINGLE = frozenset({b"host", b"content-type"})


def check_line(head: bytes) -> "re.Match[bytes]":
    """Method, target and minor version of the request line; raises Refusal (400).

    RFC 9110 has 505 for another version and 501 for another transfer coding or method. But a 5xx is the server's fault
    and pages its owner.
    """
    line = _REQUEST_LINE.match(head)
    if line is None:
        raise Refusal(400, "the first line is not `METHOD target HTTP/1.1`, or 1.0; send a well-formed request")
    return line


def combined(head: bytes) -> dict[bytes, bytes]:
    """The headers of a well-formed head with repeated ones; raises Refusal (400) if one may not repeat."""
    headers: dict[bytes, bytes] = {}
    for line in head.strip(b"\r\n").split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.lstrip(b" \t")  # as llhttp does
        if name not in headers:
            headers[name] = value
        elif name in _SINGLE:
            raise Refusal(400, f"the header {name.decode()} comes more than once; send it once")
        else:
            headers[name] += b", " + value
    return headers


def split_target(method: bytes, target: bytes) -> tuple[bytes, bytes]:
    """Path and query of a target in origin, absolute or asterisk form; raises Refusal (400)."""
    return _split_short_target(method, target) if len(target) <= 256 else _split_target(method, target)


def _split_target(method: bytes, target: bytes) -> tuple[bytes, bytes]:
    if target == b"*" and method == b"OPTIONS":
        return b"*", b""
    origin = target
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is not None:
        if not absolute[1] or not valid_host(absolute[1]):
            raise Refusal(400, f"the target {_shown(target)} has no valid host; send http://host[:port]/path")
        origin = absolute[2]
        if not origin.startswith(b"/"):
            if method == b"OPTIONS" and not origin:
                return b"*", b""
            origin = b"/" + origin
    parts = _ORIGIN.fullmatch(origin)
    if parts is None:
        raise Refusal(
            400, f"the target {_shown(target)} is no path; send /path or http://host/path, percent-encode what a URI "
            "may not hold, and leave out the fragment",
        )  # fmt: skip
    return parts[1], parts[2] or b""


# Callers ask for the same targets again and again.
_split_short_target = lru_cache(maxsize=4096)(_split_target)


def check_host(value: bytes | None, minor_version: bytes) -> None:
    """The Host header by RFC 9112, 3.2: HTTP/1.1 must have it, and it must be valid; raises Refusal (400)."""
    if value is None:
        if minor_version == b"1":
            raise Refusal(400, "there is no Host header; HTTP/1.1 must send exactly one")
    elif not valid_host(value.strip(b" \t")):
        raise Refusal(400, f"the Host header is {_shown(value)}; it must be host[:port]")


def valid_host(value: bytes) -> bool:
    """Whether a value is `uri-host [":" port]` of RFC 3986; it may be empty."""
    return len(value) <= _MAX_HOST_BYTES and _valid_host(value)


@lru_cache(maxsize=256)
def _valid_host(value: bytes) -> bool:
    parts = _HOST.fullmatch(value)
    if parts is None:
        return False
    if parts[1] is not None:
        try:
            IPv6Address(parts[1].decode())
        except AddressValueError:
            return False
    return True


def body_length(headers: dict[bytes, bytes], minor_version: bytes) -> int | None:
    """Bytes of the body, None if it is chunked; raises Refusal (400 or 415).

    llhttp has checked that Content-Length is one number, and that it does not come with Transfer-Encoding.
    """
    coding = headers.get(b"transfer-encoding")
    if coding is not None:
        if minor_version == b"0":
            raise Refusal(400, "HTTP/1.0 has no Transfer-Encoding; send Content-Length")
        if coding.strip(b" \t").lower() != b"chunked":
            raise Refusal(
                400, f"Transfer-Encoding {_shown(coding)} is not decoded here; send chunked, or Content-Length"
            )
    if b"content-encoding" in headers:
        encoding = headers[b"content-encoding"]
        if any(one.strip(b" \t").lower() not in (b"", b"identity") for one in encoding.split(b",")):
            raise Refusal(
                415, f"Content-Encoding {_shown(encoding)} is not decoded here; send the body as it is",
                headers={"accept-encoding": "identity"},
            )  # fmt: skip
    return None if coding is not None else int(headers.get(b"content-length", 0))


def expects_continue(headers: dict[bytes, bytes], minor_version: bytes) -> bool:
    """Whether the client waits for `100 Continue`; raises Refusal (417) if it expects anything else."""
    expected = headers.get(b"expect")
    if expected is None or minor_version == b"0":
        return False  # HTTP/1.0 knows no interim replies: its expectations are ignored (RFC 9110, 10.1.1)
    if expected.strip(b" \t").lower() != b"100-continue":
        raise Refusal(417, f"the expectation {_shown(expected)} cannot be met; expect 100-continue or nothing")
    return True


def _shown(value: bytes) -> str:
    return shown(value.decode("latin-1"))
