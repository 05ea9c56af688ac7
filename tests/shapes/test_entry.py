"""The `shapes` of config.json are data from a file: what is wrong with them is said before anything is built on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers
from transformers import AutoModelForSequenceClassification

from compress.core.errors import InputError
from compress.shapes.settle import settle
from compress.train.folder import load_model
from tests.shapes.carved import FAMILIES, carved

HEADED = {"t5": "AutoModelForSeq2SeqLM"}
HOLDER = "encoder.layer.0.attention.self"
WRONG: dict[str, tuple[Any, str]] = {
    "nothing": (None, "expected modules, attributes and head, came None"),
    "empty": ({}, "expected modules, attributes and head"),
    "a list": ([1], "shapes"),
    "an unknown kind": ({"moduls": {}}, "expected modules, attributes and head"),
    "modules that are a list": ({"modules": ["a"]}, "shapes.modules: expected names with numbers"),
    "a size that is a number": ({"modules": {"pooler.dense": 8}}, "shapes.modules.pooler.dense: expected numbers by"),
    "no such part": ({"modules": {"encoder.layer.7.output.dense": {"in": 8}}}, "has no such part"),
    "a name from outside": ({"modules": {"classifier": {"in": 8}}}, "shapes.modules.classifier: a BertModel has no"),
    "a property": ({"modules": {"base_model.pooler.dense": {"in": 8}}}, "has no such part"),
    "a part without a size": ({"modules": {"encoder": {"in": 8}}}, "is a BertEncoder, which has one size only"),
    "an unknown size": ({"modules": {"pooler.dense": {"rows": 8}}}, "'rows' is no size of a Linear"),
    "zero": ({"modules": {"pooler.dense": {"out": 0}}}, "out: expected a whole number from 1 to"),
    "negative": ({"modules": {"pooler.dense": {"out": -3}}}, "came -3"),
    "absurd": ({"modules": {"pooler.dense": {"out": 10**12}}}, "came 1000000000000"),
    "a fraction": ({"modules": {"pooler.dense": {"out": 8.0}}}, "came 8.0"),
    "a truth": ({"modules": {"pooler.dense": {"out": True}}}, "came True"),
    "a text": ({"modules": {"pooler.dense": {"out": "8"}}}, "came '8'"),
    "a rank over the sides": ({"modules": {"pooler.dense": {"rank": 17}}}, "rank 17: expected 1 to 16"),
    "a rank of a table": ({"modules": {"embeddings.word_embeddings": {"rank": 2}}}, "no size of a Embedding"),
    "a method": ({"attributes": {HOLDER: {"forward": 1}}}, "shapes.attributes.*forward: may not be set on a Bert"),
    "a private name": ({"attributes": {HOLDER: {"__class__": 1}}}, "may not be set"),
    "a number that it lacks": ({"attributes": {HOLDER: {"n_heads": 2}}}, "may not be set"),
    "no heads": ({"attributes": {HOLDER: {"num_attention_heads": 0}}}, "expected a whole number from 1"),
    "a scale that is none": ({"attributes": {HOLDER: {"scaling": -0.5}}}, "expected a number over 0"),
    "a head that is a list": ({"head": []}, "shapes.head: expected class, modules and attributes"),
    "a head's wrong size": (
        {"head": {"class": "BertForSequenceClassification", "modules": {"classifier": {"out": 0}}}},
        "shapes.head.modules.classifier: out",
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of an uneven BERT."""
    place = tmp_path_factory.mktemp("uneven")
    settle(carved("bert")).save_pretrained(place)
    return place


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_entry_is_refused_with_its_place(name: str, folder: Path) -> None:
    """Prevents a file from setting what it likes, and a shape error of torch where config.json is to blame."""
    shapes, message = WRONG[name]
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "shapes": shapes}))
    try:
        with pytest.raises(ValueError, match=message):
            AutoModelForSequenceClassification.from_pretrained(folder)
    finally:
        (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("family", FAMILIES)
def test_heads_that_the_matrices_do_not_have_are_refused(family: str, tmp_path: Path) -> None:
    """Prevents attention over other heads than were trained: edited numbers, and none, loaded without a word."""
    model = settle(carved(family))
    model.save_pretrained(tmp_path)
    loader = getattr(transformers, HEADED[family]) if family in HEADED else AutoModelForSequenceClassification
    loader.from_pretrained(tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    said = config["shapes"]["attributes"]
    place, name = next(
        (place, name) for place, one in said.items() for name in one if "heads" in name and "att" in place.lower()
    )
    for change in ("heads", "none"):
        wrong = json.loads(json.dumps(said))
        if change == "heads":
            wrong[place][name] = 1
        else:
            del wrong[place]
        path.write_text(json.dumps({**config, "shapes": {**config["shapes"], "attributes": wrong}}))
        with pytest.raises(ValueError, match=r"shapes\.attributes\..* gives 8 features, and the numbers say"):
            loader.from_pretrained(tmp_path)


def test_a_heads_width_that_the_rows_do_not_have_is_refused(folder: Path) -> None:
    """Prevents heads of half their width, which read the first half of the rows as if it were all."""
    config = json.loads((folder / "config.json").read_text())
    entry = json.loads(json.dumps(config["shapes"]))
    entry["attributes"][HOLDER]["attention_head_size"] = 2
    (folder / "config.json").write_text(json.dumps({**config, "shapes": entry}))
    try:
        with pytest.raises(ValueError, match=f"attributes.{HOLDER}: query gives 8 features, and .* 2 heads of width 2"):
            AutoModelForSequenceClassification.from_pretrained(folder)
    finally:
        (folder / "config.json").write_text(json.dumps(config))


def test_a_wrong_entry_is_the_users_fault_and_names_the_folder(folder: Path) -> None:
    """Prevents a traceback, and an error that does not say which of several models it is about."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "tokenizer.json").write_text("{}")
    (folder / "config.json").write_text(json.dumps({**config, "shapes": {"modules": {"nowhere": {"in": 8}}}}))
    try:
        with pytest.raises(InputError, match=f"{folder.name}: cannot be loaded.*nowhere: a BertModel has no such part"):
            load_model(str(folder), "AutoModelForSequenceClassification")
    finally:
        (folder / "config.json").write_text(json.dumps(config))


def test_sizes_that_the_weights_do_not_have_are_refused(folder: Path) -> None:
    """Prevents random weights where config.json was edited by hand."""
    config = json.loads((folder / "config.json").read_text())
    entry = json.loads(json.dumps(config["shapes"]))
    entry["modules"]["encoder.layer.1.intermediate.dense"]["out"] = 20
    (folder / "config.json").write_text(json.dumps({**config, "shapes": entry}))
    try:
        with pytest.raises(RuntimeError, match="mismatch"):
            AutoModelForSequenceClassification.from_pretrained(folder)
    finally:
        (folder / "config.json").write_text(json.dumps(config))
