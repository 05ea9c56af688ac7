"""One look for every picture: a colour-blind-safe palette (Okabe and Ito, 2008) and colours that follow the page.

Charts are drawn with the light colours below. In the page they become CSS variables, so that dark mode and print can
change them; a picture that stands alone keeps them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import altair as alt

INK, SOFT, GRID, PAPER, FADED = "#1b1f24", "#5b6470", "#dfe3e8", "#ffffff", "#a8b0ba"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5c00", "#6a51a3")
LEGEND = {"symbolSize": 90, "orient": "top", "offset": 8, "columnPadding": 26, "rowPadding": 5, "labelLimit": 220}
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "stroke", "wedge")
VARIABLES = {
    INK: "--ink", SOFT: "--soft", GRID: "--grid", PAPER: "--paper", FADED: "--faded",
    **{colour: f"--c{index}" for index, colour in enumerate(SERIES)},
}  # fmt: skip
# Text is measured where the chart is drawn: a family that has the same widths on every system.
FONT = "Helvetica, Arial, Liberation Sans, sans-serif"
WIDE, NARROW = 1100, 340


def chart(values: list[dict[str, Any]]) -> alt.Chart:
    """A chart over rows."""
    return alt.Chart(alt.Data(values=values))  # type: ignore[no-untyped-call]


def colours(names: list[str]) -> dict[str, str]:
    """A colour for each subject, the same in every picture."""
    return {name: SERIES[index % len(SERIES)] for index, name in enumerate(names)}


def config() -> dict[str, Any]:
    """Vega-Lite configuration: quiet axes, readable text, no frame."""
    text = {"labelColor": SOFT, "titleColor": INK, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": 600}
    return {
        "font": FONT,
        "background": "transparent",
        "view": {"stroke": None},
        "axis": {**text, "gridColor": GRID, "domainColor": FADED, "tickColor": FADED, "titlePadding": 8},
        "legend": {
            **text,
            "symbolSize": 90,
            "orient": "top",
            "offset": 8,
            "columnPadding": 26,
            "rowPadding": 5,
            "labelLimit": 220,
        },
        "header": {**text, "labelFontWeight": 600, "labelColor": INK},
        "title": {"color": INK, "fontSize": 13, "fontWeight": 600, "anchor": "start"},
    }


def svg(spec: Mapping[str, Any]) -> str:
    """A chart as SVG text, drawn without a browser or the network."""
    import vl_convert

    return str(vl_convert.vegalite_to_svg(dict(spec)))


def png(spec: Mapping[str, Any], scale: float = 2.0) -> bytes:
    """A chart as PNG, on white."""
    import vl_convert

    return bytes(vl_convert.vegalite_to_png(on_white(spec), scale=scale))


def on_white(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The chart with a background, for a file that stands alone."""
    return {**spec, "config": {**spec["config"], "background": PAPER, "padding": 16}}


def inline(drawing: str, label: str, css_class: str) -> str:
    """SVG for the page: scales to its column, has a text for screen readers, takes its colours from the page."""
    for colour, variable in VARIABLES.items():
        drawing = re.sub(colour, f"var({variable})", drawing, flags=re.IGNORECASE)
    head, _, body = drawing.partition(">")
    box = re.search(r'viewBox="[^"]*"', head)
    width = re.search(r'\swidth="([\d.]+)"', head)
    text = label.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    style = f'style="max-width:{width[1]}px"' if width else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{css_class}" role="img" aria-label="{text}" '
        f"{box[0] if box else ''} {style}>{body}"
    )
