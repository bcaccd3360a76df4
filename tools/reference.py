"""make schema: write the configuration reference into docs/configuration.md, between its two markers."""

from pathlib import Path

from tierfleet.config.reference import configuration_markdown

PAGE = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"
BEGIN, END = "<!-- reference: tierfleet config reference -->\n", "<!-- end of reference -->"


def main() -> None:
    """Replace the text between the markers."""
    page = PAGE.read_text()
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    PAGE.write_text(f"{head}{BEGIN}{configuration_markdown()}{END}{tail}")


if __name__ == "__main__":
    main()
