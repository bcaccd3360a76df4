"""What Python reads as a number and a model server does not."""


def is_plain(text: str) -> bool:
    """Whether `float` reads no more in a text than a model server does: it takes 1_000, and digits of every script."""
    return "_" not in text and text.isascii()
