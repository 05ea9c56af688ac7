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


def shapes(names: list[str]) -> dict[str, str]:
    """A shape for each subject; past the eighth, where colours repeat, the pair of both is still its own."""
    return {name: SHAPES[(index + index // len(SERIES)) % len(SHAPES)] for index, name in enumerate(names)}


def identity(report: Mapping[str, Any], names: list[str], width: int) -> tuple[alt.Color, alt.Shape]:
    """Colour and shape channels of the field `model`, with one legend; the same for a subject in every picture."""
    everyone = [subject["name"] for subject in report["subjects"]]
    palette, marks = colours(everyone), shapes(everyone)
    colour = alt.Scale(domain=names, range=[palette[name] for name in names])
    shape = alt.Scale(domain=names, range=[marks[name] for name in names])
    key = legend(names, width)
    return alt.Color("model:N", scale=colour, legend=key), alt.Shape("model:N", scale=shape, legend=key)


def legend(names: list[str], width: int) -> alt.Legend:
    """A legend above the picture, in as many columns as have room."""
    room = 46 + 8 * max(map(len, names), default=1)
    columns = max(1, (width - 40) // room)
    return alt.Legend(title=None, columns=0 if columns >= len(names) else columns)


def config() -> dict[str, Any]:
    """Vega-Lite configuration: quiet axes, readable text, no frame."""
    text = {"labelColor": SOFT, "titleColor": INK, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": 600}
    return {
        "font": FONT,
        "background": "transparent",
        "view": {"stroke": None},
        "axis": {**text, "gridColor": GRID, "domainColor": FADED, "tickColor": FADED, "titlePadding": 8},
        "legend": {**text, **LEGEND},
        "header": {**text, "labelFontWeight": 600, "labelColor": INK},
        "title": {"color": INK, "fontSize": 13, "fontWeight": 600, "anchor": "start"},
    }


def svg(spec: Mapping[str, Any]) -> str:
    """A chart as SVG text, drawn without a browser or the network."""
    import vl_convert

    return str(vl_convert.vegalite_to_svg(dict(spec)))


def png(drawing: str, scale: float = 2.0) -> bytes:
    """SVG text as PNG."""
    import vl_convert

    return bytes(vl_convert.svg_to_png(drawing, scale=scale))


def stand_alone(drawing: str, margin: int = 16) -> str:
    """The SVG on a white sheet, for a file of its own."""
    sides = re.search(r'width="([\d.]+)" height="([\d.]+)"', drawing)
    width, height = (float(side) + 2 * margin for side in sides.groups()) if sides else (0.0, 0.0)
    placed = drawing.replace("<svg ", f'<svg x="{margin}" y="{margin}" ', 1)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}"><rect width="100%" height="100%" fill="{PAPER}"/>{placed}</svg>\n'
    )


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
