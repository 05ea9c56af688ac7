"""`list`, `explain`, `schema` and `init` over the real catalogues."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from compress.cli.app import app
from compress.core.errors import InputError
from compress.core.registry import CATALOGUES
from compress.pipeline.describe import describe, methods, recipe_schema
from compress.pipeline.recipe import parse_recipe
from compress.pipeline.starter import starter_recipe

CONFIGS = sorted((Path(__file__).parents[2] / "configs").rglob("*.yaml"))


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """The JSON Schema of recipes."""
    return recipe_schema()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_schema_takes_every_recipe(schema: dict[str, Any], path: Path) -> None:
    """An editor that underlines the recipes we ship teaches people to ignore it."""
    jsonschema.Draft202012Validator(schema).validate(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize(
    "change",
    [
        lambda recipe: recipe.update(stepz={}),
        lambda recipe: recipe["steps"]["corpus"]["prepare"].update(sauce={}),
        lambda recipe: recipe["steps"]["corpus"]["prepare"].update(dev_share="half"),
        lambda recipe: recipe["steps"]["corpus"].update(prepare={}),
        lambda recipe: recipe["steps"].update(speed={"bench": {"models": ["$a"], "corpus": "no-dollar"}}),
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(schema: dict[str, Any], change: Any) -> None:
    """A schema that takes anything completes nothing."""
    source = {"jsonl": {"path": "data"}}
    recipe = {"steps": {"corpus": {"prepare": {"source": source, "task": "classify", "dev_share": "${share}"}}}}
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(recipe)
    changed = copy.deepcopy(recipe)
    change(changed)
    assert not validator.is_valid(changed)


def test_every_method_is_explained(schema: dict[str, Any]) -> None:
    """A method without a first line of documentation is a blank in `compress list`; one whose options cannot be
    rendered breaks `compress explain`."""
    for kind, found in methods().items():
        for name, summary in found.items():
            assert summary, f"{kind} {name} has no documentation"
            told = describe(kind, name)
            assert yaml.safe_load(told.example), f"{kind} {name} has no example"
            json.dumps(told.as_dict())
    assert {"loss", "student", "step", "source", "task", "quantizer"} <= set(CATALOGUES)


def test_explaining_a_step() -> None:
    """The example must show references and nested methods as a recipe writes them."""
    told = describe("step", "prepare")
    fields = {field.name: field for field in told.fields}
    assert fields["source"].takes == "a source" and fields["source"].default == ""
    assert yaml.safe_load(told.example)["steps"]["my-prepare"]["prepare"]["task"] == "classify"


def test_options_inside_an_option_are_named() -> None:
    """`keep` takes the name of a Python class: a reader of `compress explain step label` learns nothing from it."""
    takes = {field.name: field.takes for field in describe("step", "label").fields}
    assert takes["keep"] == "{logits, top, hidden, attention, values, embedding}"
    assert takes["corpus"] == "$step (Corpus)" and takes["teacher"].startswith("$step (Model)")
    assert {field.name: field.takes for field in describe("step", "distill").fields}["signals"].startswith(
        "$step (Signals)"
    )


def test_list_on_the_command_line() -> None:
    """An unknown kind is answered with the known ones."""
    found = CliRunner().invoke(app, ["list", "loss", "--json"])
    assert "logits_kl" in json.loads(found.stdout)["loss"]
    wrong = CliRunner().invoke(app, ["list", "losses"])
    assert wrong.exit_code == 2 and 'did you mean "loss"?' in wrong.stderr
    told = CliRunner().invoke(app, ["explain", "loss", "logits_kl"])
    assert told.exit_code == 0 and "temperature" in told.stdout and "in a recipe" in told.stdout


def _jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_init_fits_pairs_and_labels(tmp_path: Path) -> None:
    """Columns called otherwise than `text` and `label` are what people have."""
    rows = [{"premise": f"a {i}", "hypothesis": f"b {i}", "class": ["yes", "no"][i % 2], "id": i} for i in range(30)]
    _jsonl(tmp_path / "train.jsonl", rows)
    text, notes = starter_recipe(tmp_path, "classify", "models/bert", "My Recipe")
    recipe = parse_recipe(text)
    task = recipe.steps["corpus"].dump()["task"]["classify"]
    assert (task["text"], task["text_pair"], task["label"]) == ("premise", "hypothesis", "class")
    assert recipe.name == "my-recipe" and recipe.steps["corpus"].dump()["dev_share"] == 0.1
    assert any("no dev split" in note for note in notes)


def test_init_fits_one_csv_file_with_numbers(tmp_path: Path) -> None:
    """Labels 0, 1, 2 need names that the user fills in; a header with a space must be quoted."""
    lines = ["stars,the review", *(f"{i % 3},this film is number {i}" for i in range(30))]
    (tmp_path / "data.csv").write_text("\n".join(lines))
    recipe = parse_recipe(starter_recipe(tmp_path / "data.csv", "classify", "bert", "r")[0])
    found = recipe.steps["corpus"].dump()
    assert found["task"]["classify"]["text"] == "the review" and found["task"]["classify"]["label"] == "stars"
    assert list(found["label_names"].values()) == ["label-0", "label-1", "label-2"]


def test_init_for_tags_and_scores(tmp_path: Path) -> None:
    """The other labelled tasks start from the same command."""
    (tmp_path / "tag").mkdir()
    _jsonl(tmp_path / "tag" / "train.jsonl", [{"tokens": ["a", "b"], "ner_tags": ["O", "B-X"]}] * 5)
    assert parse_recipe(starter_recipe(tmp_path / "tag", "tag", "bert", "r")[0]).steps["corpus"].dump()["task"]["tag"]
    (tmp_path / "sts").mkdir()
    _jsonl(tmp_path / "sts" / "train.jsonl", [{"sentence1": "a", "sentence2": "b", "score": 0.5}] * 5)
    found = parse_recipe(starter_recipe(tmp_path / "sts", "regress", "bert", "r")[0]).steps["corpus"].dump()["task"]
    assert found["regress"]["target"] == "score" and found["regress"]["text_pair"] == "sentence2"


@pytest.mark.parametrize(
    ("rows", "task", "words"),
    [
        ([{"text": f"t {i}", "id": i} for i in range(30)], "classify", "looks like a label"),
        ([{"label": i % 2, "n": i} for i in range(30)], "classify", "holds only text"),
        ([{"text": "a", "label": "x"}], "regress", "holds only numbers"),
        ([{"text": "a", "label": "x"}], "tag", "each a list"),
        ([{"text": "a", "label": "x"}], "mask", "expected one of"),
    ],
)
def test_init_says_what_it_misses(tmp_path: Path, rows: list[dict[str, Any]], task: str, words: str) -> None:
    """A recipe with a guessed-wrong column fails later and farther away."""
    _jsonl(tmp_path / "train.jsonl", rows)
    with pytest.raises(InputError, match=words):
        starter_recipe(tmp_path, task, "bert", "r")


def test_init_writes_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second `init` must not eat an edited recipe."""
    monkeypatch.chdir(tmp_path)
    _jsonl(tmp_path / "train.jsonl", [{"text": f"t {i}", "label": "ab"[i % 2]} for i in range(10)])
    first = CliRunner().invoke(app, ["init", "--data", ".", "--out", "new/recipe.yaml"])
    assert first.exit_code == 0 and "compress run" in first.stdout, first.output
    assert CliRunner().invoke(app, ["init", "--data", ".", "--out", "new/recipe.yaml"]).exit_code == 2


def test_init_sees_the_task_where_the_columns_leave_no_doubt(tmp_path: Path) -> None:
    """Somebody with lists of labels, or with questions and contexts, should not have to know our word for it."""
    made: dict[str, list[dict[str, Any]]] = {
        "multilabel": [{"text": f"t {i}", "labels": ["a", "b"][: i % 3]} for i in range(9)],
        "answer": [{"question": "q?", "context": "a b", "answers": [{"text": "a", "answer_start": 0}]}] * 3,
        "tag": [{"tokens": ["a", "b"], "ner_tags": ["O", "B-X"]}] * 5,
        "classify": [{"text": f"t {i}", "label": "ab"[i % 2]} for i in range(10)],
    }
    for task, rows in made.items():
        (tmp_path / task).mkdir()
        _jsonl(tmp_path / task / "train.jsonl", rows)
        recipe = parse_recipe(starter_recipe(tmp_path / task, "auto", "bert", "r")[0])
        assert list(recipe.steps["corpus"].dump()["task"]) == [task]
    document = {"data": [{"paragraphs": [{"context": "a b", "qas": [{"question": "q?", "answers": []}]}]}]}
    document["data"][0]["paragraphs"][0]["qas"][0]["answers"] = [{"text": "a", "answer_start": 0}]  # type: ignore
    (tmp_path / "squad").mkdir()
    (tmp_path / "squad" / "train.json").write_text(json.dumps(document))
    found = parse_recipe(starter_recipe(tmp_path / "squad", "auto", "bert", "r")[0]).steps["corpus"].dump()
    assert list(found["source"]) == ["squad"] and list(found["task"]) == ["answer"]


def test_init_for_embeddings(tmp_path: Path) -> None:
    """The scale of the scores is read off the data, and both kinds of pairs are known."""
    (tmp_path / "sts").mkdir()
    _jsonl(tmp_path / "sts" / "train.jsonl", [{"text_a": "a", "text_b": "b", "score": i} for i in (1.5, 5.0, 2.0)])
    task = parse_recipe(starter_recipe(tmp_path / "sts", "embed", "bert", "r")[0]).steps["corpus"].dump()["task"]
    assert (task["embed"]["text_pair"], task["embed"]["target"], task["embed"]["highest"]) == ("text_b", "score", 5.0)
    (tmp_path / "pairs").mkdir()
    _jsonl(tmp_path / "pairs" / "train.jsonl", [{"query": "a", "passage": "b"}] * 3)
    task = parse_recipe(starter_recipe(tmp_path / "pairs", "embed", "bert", "r")[0]).steps["corpus"].dump()["task"]
    assert (task["embed"]["text"], task["embed"]["target"]) == ("query", None)
