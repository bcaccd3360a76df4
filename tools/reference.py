"""make schema: write what the code knows into the pages that show it, each between two markers."""

from pathlib import Path

from tierfleet.cli.shapes_command import reference_fleets_shown
from tierfleet.config.hosting_guide import shapes_markdown
from tierfleet.config.reference import configuration_markdown

DOCS = Path(__file__).resolve().parent.parent / "docs"
REFERENCE = ("<!-- reference: tierfleet config reference -->\n", "<!-- end of reference -->")
SHAPES = ("<!-- tierfleet shapes --markdown -->\n", "<!-- end -->")
REFERENCE_FLEETS = ("<!-- tierfleet shapes --reference-fleets --markdown -->\n", "<!-- end -->")


def put(page: Path, markers: tuple[str, str], text: str) -> None:
    """Replace the text between the markers."""
    begin, end = markers
    head, _, rest = page.read_text(encoding="utf-8").partition(begin)
    _, _, tail = rest.partition(end)
    page.write_text(f"{head}{begin}{text}{end}{tail}", encoding="utf-8")


def main() -> None:
    """Rewrite docs/configuration.md and docs/choosing.md."""
    put(DOCS / "configuration.md", REFERENCE, configuration_markdown())
    put(DOCS / "choosing.md", SHAPES, shapes_markdown() + "\n")
    put(
        DOCS / "choosing.md",
        REFERENCE_FLEETS,
        reference_fleets_shown(DOCS.parent / "config", None, markdown=True) + "\n",
    )


if __name__ == "__main__":
    main()
