"""SVG charts without scripts, drawn by matplotlib, legible on a phone and in print. Plans and replays share them."""

import html
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

# Okabe and Ito's colours, which colour-blind readers can tell apart; line styles differ for readers in grey.
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#666666"
SKY: Final = "#56b4e9"
_STYLE: Final[Any] = {
    # Text as text can be searched, and keeps the file small.
    "svg.fonttype": "none",
    "svg.hashsalt": "tierfleet",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#999999",
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}
PERCENT: Final = FuncFormatter(lambda value, _: f"{value * 100:.0f} %")
SECONDS: Final = FuncFormatter(lambda value, _: f"{value * 1000:g} ms" if value < 1 else f"{value:g} s")
COUNT: Final = FuncFormatter(lambda value, _: f"{value:,.0f}")
DOLLARS: Final = FuncFormatter(lambda value, _: f"${value:,.0f}")


@dataclass(frozen=True)
class Chart:
    """One chart: its caption, and an SVG whose alternative text says what it shows."""

    caption: str
    svg: str


def log_scale(axes: Axes, values: Sequence[float], formatter: FuncFormatter) -> None:
    """A logarithmic axis with enough labels for a short range, and not too many for a long one."""
    wide = max(values) / min(values)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if wide < 100 else (1, 3) if wide < 1e4 else (1,)))
    axes.xaxis.set_major_formatter(formatter)
    axes.xaxis.set_minor_locator(NullLocator())


def svg_of(name: str, alt: str, draw: Callable[[Axes], None]) -> str:
    """A figure narrow enough for a phone. name: makes its ids unique. alt: for screen readers."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(5.4, 3.7), layout="constrained")
        draw(figure.subplots())
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return _unique_ids(svg, name).replace("<svg ", f'<svg role="img" aria-label="{html.escape(alt)}" ', 1)


def _unique_ids(svg: str, prefix: str) -> str:
    """Several charts share a page: ids that are not used go, the others get the chart's name."""
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{prefix}-{m[1]}"' if m[1] in used else "", svg)
    return re.sub(r'(url\(#|href="#)', rf"\1{prefix}-", svg)
