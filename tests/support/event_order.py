"""The order of entries in an event log."""


def assert_order(log: list[tuple[str, str]], *expected: tuple[str, str]) -> None:
    """The expected entries all occur, in this order."""
    entries = iter(log)
    for wanted in expected:
        assert any(entry == wanted for entry in entries), f"{wanted} missing or too early in\n" + "\n".join(
            map(str, log)
        )
