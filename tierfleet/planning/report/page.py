"""An HTML page without network and scripts, for a screen, a phone and a printer. Plans and replays share it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files

from tierfleet.planning.report.svg import Chart


def page(title: str, body: Iterable[str]) -> str:
    """The whole document. body: HTML, one part after the other."""
    css = (files("tierfleet") / "data/plan_report.css").read_text(encoding="utf-8")
    parts = "\n".join(body)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{css}</style>\n</head>\n"
        f"<body>\n<h1>{escape(title)}</h1>\n{parts}\n</body>\n</html>\n"
    )


def answer_box(paragraphs: Sequence[str], *, good: bool) -> str:
    """What to decide by. paragraphs: HTML, the verdict first."""
    return f'<div class="answer{"" if good else " none"}">{"".join(f"<p>{line}</p>" for line in paragraphs)}</div>'


def figures(named: Mapping[str, str]) -> str:
    """A few figures in large type, by name."""
    cells = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in named.items())
    return f'<dl class="figures">{cells}</dl>'


def figure_grid(charts: Iterable[Chart]) -> str:
    """Charts next to each other where there is room."""
    each = (f"<figure><figcaption>{escape(chart.caption)}</figcaption>{chart.svg}</figure>" for chart in charts)
    return f'<div class="charts">{"".join(each)}</div>'


def bullets(title: str, lines: Sequence[str]) -> Iterator[str]:
    """A list with a heading; nothing without lines."""
    if lines:
        yield f"<h2>{escape(title)}</h2>"
        yield "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def sentence(text: str) -> str:
    """With a capital letter and a full stop."""
    return f"{text[:1].upper()}{text[1:]}."
