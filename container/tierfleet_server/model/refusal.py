"""Refusals: an HTTP status and a sentence for the sender of the request."""

from collections.abc import Mapping
from http import HTTPStatus

# Python 3.13 renamed these phrases, but callers compare them.
_PHRASES = {
    413: "Request Entity Too Large",
    414: "Request-URI Too Long",
    416: "Requested Range Not Satisfiable",
    422: "Unprocessable Entity",
}


class Refusal(Exception):  # noqa: N818 - it is an answer, not a fault of the server
    """An answer other than 200: the caller's fault (4xx) or no memory (503, 507).

    `message` is one sentence: what is wrong, the value, what is allowed, what to do. `headers` are the ones that HTTP
    asks of such an answer, for example `Allow` of a 405; names in lower case.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}

    @property
    def kind(self) -> str:
        """The status in words, for example `RequestEntityTooLarge`."""
        phrase = _PHRASES.get(self.status) or HTTPStatus(self.status).phrase
        return "".join(word for word in phrase.title() if word.isalpha())


class BadModel(Refusal):
    """A model that must not be served: unsafe, damaged, of the wrong version or layout."""

    def __init__(self, message: str) -> None:
        super().__init__(400, message)


def shown(value: object, limit: int = 80) -> str:
    """`repr` of a caller's value, cut to `limit` characters, so that no message grows with the request."""
    text = repr(value)
    return text if len(text) <= limit else text[:limit] + "..."
