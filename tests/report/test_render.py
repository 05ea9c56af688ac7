"""The files of a report."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest

from compress.core.artifact import verify
from compress.core.errors import InputError
from compress.report import make_report
from compress.report.collect import collect
from compress.report.figures.place import Dot, place_labels
from compress.report.html import html, sections
from compress.report.longform import COLUMNS
from compress.report.markdown import machine_line, markdown
from compress.report.render import write_report
from compress.report.tables import main_table
from tests.report.made_up import ENVIRONMENT, measure, measures, subject, write_run, write_step
from tests.report.made_up_full import full_report

Paths = dict[str, Path]
VOID = {"meta", "link", "br", "img", "input", "hr"}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """The report of a whole made-up run."""
    return make_report(write_run(tmp_path_factory.mktemp("runs") / "example"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """The report in which everything was measured."""
    folder = tmp_path_factory.mktemp("whole")
    return write_report(full_report(folder / "example"), folder / "example", folder / "out")


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
    assert set(rendered) == {"json", "md", "csv", "html", "svg", "png", "figures"}
    assert all(path.stat().st_size > 200 for path in rendered.values())
    assert rendered["png"].read_bytes().startswith(b"\x89PNG")


def test_every_picture_is_a_file_too(whole: Paths) -> None:
    """A picture that is only in the page cannot be put into a slide; one without a ground is black on black there."""
    names = {path.name for path in whole["figures"].iterdir()}
    wanted = ("tradeoff", "latency-by-length", "latency-distribution", "throughput", "size", "memory-bill",
              "memory-timeline", "slices", "training-student")  # fmt: skip
    assert {f"{name}.{kind}" for name in wanted for kind in ("svg", "png")} <= names
    drawing = (whole["figures"] / "slices.svg").read_text()
    assert 'fill="#ffffff"' in drawing and "var(--" not in drawing
    assert ElementTree.fromstring(drawing).tag.endswith("svg")


def test_the_pictures_folder_cannot_be_a_step(whole: Paths) -> None:
    """A step named like the folder of the pictures would find strange files in its artifact."""
    assert not re.fullmatch(r"[a-z][a-z0-9_-]*", whole["figures"].name)


def test_json_follows_its_schema(rendered: Paths) -> None:
    """A script that relies on the shipped schema must not meet another shape."""
    jsonschema.validate(json.loads(rendered["json"].read_text()), schema())


def test_json_with_everything_follows_the_schema(whole: Paths) -> None:
    """The made-up report stands for real ones only as long as it has their shape."""
    jsonschema.validate(json.loads(whole["json"].read_text()), schema())


def test_json_without_bench_follows_the_schema(tmp_path: Path) -> None:
    """The same format holds for a run that was not benched."""
    paths = make_report(write_run(tmp_path / "run", bench=False))
    jsonschema.validate(json.loads(paths["json"].read_text()), schema())
    page = paths["html"].read_text()
    assert "Quality and size" in page and "Latency against length" not in page


def test_html_is_small_whole_and_asks_for_nothing(whole: Paths) -> None:
    """A page that loads a font or a script from a CDN is empty on a train and tells who reads it."""
    page = whole["html"].read_text()
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


def test_a_section_without_data_is_left_out(rendered: Paths, whole: Paths) -> None:
    """A heading over nothing looks like a fault of the page; what was measured must not be missing."""
    plain, full = rendered["html"].read_text(), whole["html"].read_text()
    for title in ("Memory over time", "Quality by slice", "Changed answers", 'id="gate"'):
        assert title not in plain and title in full


def test_blanks_say_why_they_are_blank(whole: Paths) -> None:
    """A dash alone cannot be told from a zero, from a bug, or from what nobody asked for."""
    page = whole["html"].read_text()
    assert "energy per text not measured: the counters of RAPL cannot be read here" in page
    assert "not measured: out of memory" in page and "fits 64.0 MB not measured: no limit could be set here" in page
    assert "energy per text not measured" in whole["md"].read_text()


def test_verdicts_stand_in_words(whole: Paths) -> None:
    """Colour alone says nothing to one man in twelve, nor on paper."""
    marks = set(re.findall(r'<span class="mark[^"]*">([^<]*)</span>', whole["html"].read_text()))
    assert {"FASTER", "SAME", "CANNOT TELL", "MET", "MISSED", "LOST", "GAINED"} <= marks


def test_a_report_of_an_older_stillroom_is_drawn(tmp_path: Path) -> None:
    """Measures without the newer fields must give the older page, not a KeyError."""
    report = collect(write_run(tmp_path / "run"))
    for one in report["subjects"]:
        for name in ("throughput", "energy", "compute", "fits"):
            one.pop(name, None)
    report.pop("why", None)
    assert {section.name for section in sections(report, [])} >= {"speed", "space", "quality"}
    assert "12.0×" in html(report, [])


def test_markup_in_flipped_texts_is_shown_not_run(whole: Paths) -> None:
    """Texts of a corpus are anybody's."""
    page = whole["html"].read_text()
    assert "<b>wants</b>" not in page and "&lt;b&gt;wants&lt;/b&gt;" in page


def test_csv_holds_what_is_new(whole: Paths) -> None:
    """A number that is only in the page cannot be plotted by anybody else."""
    with whole["csv"].open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["subject"] == "int8"]
    names = {row["measure"] for row in rows}
    assert {"load.cold_start", "memory.bill.weights", "compute.flops", "energy", "quality.agreement", "throughput.best",
            "quality.calibration.ece", "quality.paired.p", "throughput.sweep", "fits.256000000"} <= names  # fmt: skip
    drop = next(row for row in rows if row["measure"] == "quality.slice.drop")
    assert drop["slice"] == "tag=negation" and drop["n"] == "61" and float(drop["lo"]) < float(drop["value"])
    assert next(row["why"] for row in rows if row["measure"] == "energy").startswith("the counters of RAPL")
    assert {row["verdict"] for row in rows if row["measure"] == "latency.ratio"} == {"FASTER", "CANNOT TELL"}


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


def test_markdown_leads_with_what_a_reviewer_asks(whole: Paths) -> None:
    """Folded away, a missed gate or a slice that fell by six points would be merged."""
    shown, _, folded = whole["md"].read_text().partition("<details>")
    assert "**Gate failed: int8 max size missed" in shown and "MISSED" in shown and "tag | negation" in shown
    assert "every cell that was timed" in folded and folded.count("<details>") + 1 == folded.count("</details>")
    width = {name: {line.count("|") for line in block.splitlines() if line.startswith("|")}
             for name, block in enumerate(whole["md"].read_text().split("\n\n"))}  # fmt: skip
    assert all(len(bars) <= 1 for bars in width.values())


def test_the_machine_says_where_threads_were_bound() -> None:
    """A reader who cannot tell whether two threads met on one core."""
    assert "2 cores · threads bound to CPUs 0, 1" in machine_line({**ENVIRONMENT, "bound_to": [0, 1]})
    assert "bound" not in machine_line({**ENVIRONMENT, "bound_to": []}) + machine_line(ENVIRONMENT)


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
    assert notes[1] == "not measured: 12 samples do not bound a 90th percentile"


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
    assert labels[2].align != "left", "a label at the right edge must not leave the picture"
    assert len({(label.x, label.y) for label in labels}) == 3
