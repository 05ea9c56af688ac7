"""The files of a report."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

from compress.core.artifact import verify
from compress.core.errors import InputError
from compress.report import make_report
from compress.report.collect import collect
from compress.report.figures.place import Dot, place_labels
from compress.report.longform import COLUMNS
from compress.report.markdown import markdown
from compress.report.tables import main_table
from tests.report.made_up import measure, measures, subject, write_run, write_step

Paths = dict[str, Path]
VOID = {"meta", "link", "br", "img", "input", "hr"}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """The report of a whole made-up run."""
    return make_report(write_run(tmp_path_factory.mktemp("runs") / "example"))


def schema() -> dict[str, object]:
    """The JSON Schema that the package ships."""
    loaded: dict[str, object] = json.loads(files("compress.report").joinpath("report.schema.json").read_text())
    return loaded


class Balance(HTMLParser):
    """Notes elements that are left open or closed twice."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID and (not self.open or self.open.pop() != tag):
            self.faults.append(tag)


def test_every_format_is_written(rendered: Paths) -> None:
    """A format that is silently left out is missed by the script that reads it."""
    assert set(rendered) == {"json", "md", "csv", "html", "svg", "png"}
    assert all(path.stat().st_size > 200 for path in rendered.values())
    assert rendered["png"].read_bytes().startswith(b"\x89PNG")


def test_json_follows_its_schema(rendered: Paths) -> None:
    """A script that relies on the shipped schema must not meet another shape."""
    jsonschema.validate(json.loads(rendered["json"].read_text()), schema())


def test_json_without_bench_follows_the_schema(tmp_path: Path) -> None:
    """The same format holds for a run that was not benched."""
    paths = make_report(write_run(tmp_path / "run", bench=False))
    jsonschema.validate(json.loads(paths["json"].read_text()), schema())
    page = paths["html"].read_text()
    assert "Quality and size" in page and "Latency against length" not in page


def test_html_is_small_whole_and_asks_for_nothing(rendered: Paths) -> None:
    """A page that loads a font or a script from a CDN is empty on a train and tells who reads it."""
    page = rendered["html"].read_text()
    assert len(page) < 3_000_000
    outside = re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    assert "http://" not in outside and "https://" not in outside and "@import" not in page
    assert not re.search(r'(src|href)="(?!#|data:)', outside)
    parser = Balance()
    parser.feed(page)
    assert parser.faults == [] and parser.open == []


def test_pictures_can_be_read_aloud_and_follow_the_page(rendered: Paths) -> None:
    """A picture without a text is nothing to a screen reader; one with fixed ink is invisible in dark mode."""
    page = rendered["html"].read_text()
    pictures = re.findall(r"<svg[^>]*>", page)
    assert len(pictures) >= 10 and all('role="img"' in p and "aria-label=" in p for p in pictures)
    assert "var(--ink)" in page and "#1b1f24" not in page.split("</style>")[1]
    assert 'aria-label="int8: 90.2 % accuracy, 2.61 ms, 15.9 MB"' in page


def test_sorting_knows_numbers(rendered: Paths) -> None:
    """Sorted as text, 54/s would stand above 431/s."""
    page = rendered["html"].read_text()
    assert re.search(r'data-order="2\.61"[^>]*>2\.61 ms', page)


def test_names_cannot_inject_markup(tmp_path: Path) -> None:
    """A folder called `<script>` must be shown, not run."""
    evil = "<script>alert(1)</script>"
    found = measures(subject("teacher", latency=[]), subject("student", name=evil, latency=[], size={}, memory={}))
    write_step(tmp_path, "speed", "bench", "Measures", measures=found)
    paths = make_report(tmp_path)
    assert evil not in paths["html"].read_text() and "&lt;script&gt;" in paths["html"].read_text()
    assert evil not in paths["md"].read_text()


def test_csv_is_long_form(rendered: Paths) -> None:
    """One number a row, the corpus's own lengths told from the grid."""
    with rendered["csv"].open() as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == COLUMNS
    found = [r for r in rows if r["subject"] == "int8" and r["measure"] == "latency.p50" and r["batch"] == "1"]
    assert [row["length"] for row in found] == ["corpus", "16", "64", "128"]
    assert found[0]["value"] == "2.61" and found[0]["unit"] == "ms" and float(found[0]["lo"]) < 2.61


def test_markdown_tables_hold(rendered: Paths) -> None:
    """A cell with a line break or a bar in it would tear the table apart."""
    lines = [line for line in rendered["md"].read_text().splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines[:6]} == {lines[0].count("|")}


def test_markdown_without_models() -> None:
    """A run that only prepared a corpus still gives a Markdown file."""
    empty = {"verdict": "no model was measured yet", "subjects": [], "steps": [], "environment": {}}
    assert "No model was measured" in markdown(empty)


def test_absent_percentiles_say_why(tmp_path: Path) -> None:
    """A blank without its reason looks like a bug."""
    shy = subject("student")
    shy["latency"][0]["p90"] = measure(None, "ms", why="12 samples do not bound a 90th percentile")
    write_step(tmp_path, "speed", "bench", "Measures", measures=measures(subject("teacher"), shy))
    notes = [row.cells["p90"].note for row in main_table(collect(tmp_path)).rows]
    assert notes[1] == "12 samples do not bound a 90th percentile"


def test_an_artifact_is_not_written_into(tmp_path: Path) -> None:
    """A report inside the bench step's folder would fail its own hash check the next time."""
    folder = write_step(tmp_path, "corpus", "prepare", "Corpus")
    assert make_report(folder)["json"] == tmp_path / "report.json"
    verify(folder)


def test_an_unwritable_folder_is_an_input_error(tmp_path: Path) -> None:
    """The user chose the place, so the user is told, with the remedy."""
    run = write_step(tmp_path / "run", "corpus", "prepare", "Corpus")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--out"):
        make_report(run, tmp_path / "file")


def test_labels_do_not_cover_dots_or_each_other() -> None:
    """Two students of equal quality side by side would share one unreadable label."""
    dots = [Dot(100, 100, 10, "student"), Dot(118, 102, 12, "half-alone"), Dot(395, 100, 20, "teacher")]
    labels = place_labels(dots, 400, 300)
    assert labels[2].align == "right", "a label at the right edge must go left"
    assert len({(label.x, label.y) for label in labels}) == 3
