"""`distill` with gates: a stock student of zeros where it is shut, its scores beside it, with any kind of teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from compress.anatomy.base import anatomy_of
from compress.core.artifact import ArtifactWriter, verify
from compress.core.errors import FaultsError, InputError
from compress.importance.base import Evidence
from compress.importance.movement import Movement, store_scores, stored_scores
from compress.pipeline.recipe import parse_recipe
from compress.steps.base import Context
from compress.steps.distill import Distill
from compress.steps.prune import Prune
from tests.steps.test_distill import distilled
from tests.teachers.helpers import Ears, small_checkpoint, small_corpus, taught

KEEN: dict[str, Any] = {
    "student": {"tinybert": {"layers": 1, "width": 32, "heads": 2, "ffn": 64, "dropout": 0.0, "init": "truncated"}},
    "gates": {"movement": {"heads": 0.5, "ffn": 0.5}},
    "epochs": 3,
}


@pytest.fixture(scope="module")
def taught_teacher(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A corpus and a teacher that knows it."""
    folder = tmp_path_factory.mktemp("gates")
    corpus = small_corpus(folder / "corpus")
    return corpus, taught(str(small_checkpoint(folder / "body")), corpus, folder / "teacher")


@pytest.mark.parametrize("mode", ["live", "stored"])
def test_a_stock_student_whose_shut_parts_are_zeros(
    mode: str, taught_teacher: tuple[Path, Path], tmp_path: Path
) -> None:
    """Prevents a saved student that still has what was shut, measures of another model, and scores that are lost."""
    folder = distilled(*taught_teacher, tmp_path / "student", teacher_mode=mode, **KEEN)
    manifest = verify(folder, "Model")
    measured = manifest["measured"]
    assert measured["gates"] == {
        "heads": [{"layer": 1, "kept": 1, "of": 2}], "ffn": [{"layer": 1, "kept": 32, "of": 64}]
    }  # fmt: skip
    assert measured["dev"]["accuracy"] == measured["best_metric"] > 0.8
    final = round(0.7 * measured["steps"])
    assert measured["best_step"] >= final
    assert "movement.safetensors" in manifest["files"]
    student = AutoModelForSequenceClassification.from_pretrained(folder)
    assert not any("gate" in name for name in student.state_dict())
    found = Movement().score(student, frozenset({"heads", "neurons"}), Evidence(stored=stored_scores(folder)))
    anatomy = anatomy_of(student)
    for blocks, scores in (
        (anatomy.attention_blocks(student), found.heads), (anatomy.ffn_blocks(student), found.neurons),
    ):  # fmt: skip
        for block in blocks:
            weight = student.get_submodule(block.name).weight.detach()
            alive = weight.view(len(weight), len(scores[block.name]), -1).abs().sum((0, 2)) > 0
            assert torch.equal(alive, scores[block.name] > 0) and int(alive.sum()) * 2 == len(alive)


def test_pruning_by_movement_takes_exactly_the_shut_parts_out(
    taught_teacher: tuple[Path, Path], tmp_path: Path
) -> None:
    """Prevents a cut that takes living parts, or other numbers than were trained: half goes and nothing is lost."""
    itself = {"checkpoint": {"name": "$teacher"}}  # two layers of two heads and 64 neurons
    gates = {"movement": {"heads": 0.5, "ffn": 0.5, "scope": "global"}}
    folder = distilled(*taught_teacher, tmp_path / "student", **{**KEEN, "student": itself, "gates": gates})
    kept = verify(folder)["measured"]["gates"]
    what = [{"heads": {"ratio": 0.5}}, {"ffn": {"ratio": 0.5}}]
    step = Prune.model_validate({"model": "$student", "corpus": "$corpus", "by": "movement", "what": what})
    writer = ArtifactWriter(tmp_path / "cut")
    inputs = {"$corpus": taught_teacher[0], "$student": folder}
    context = Context("cut", inputs, writer.open(), tmp_path / "cut-work", 7, Ears())
    step.run(context)
    assert context.measured["dev"] == context.measured["before"]["dev"]
    heads, neurons = (sum(one["of"] - one["kept"] for one in kept[kind]) for kind in ("heads", "ffn"))
    assert (heads, neurons) == (2, 64)
    # A head: 16 rows of q, k and v with biases, 16 columns of the output; a neuron: a row with bias and a column.
    planned = heads * 16 * (3 * 33 + 32) + neurons * (32 + 1 + 32)
    counts = context.measured["parameters"]
    assert counts["before"]["total"] - counts["after"]["total"] == planned


@pytest.mark.parametrize("again", [{"student": {"checkpoint": {"name": "$gated"}}}, {"start": "$gated"}])
def test_shut_parts_are_not_trained_open(again: dict[str, Any], tmp_path: Path) -> None:
    """Prevents a second training without gates, which fills the zeros of the first: what was to go would be back."""
    store_scores(tmp_path, {"a": torch.ones(2)}, {"a": torch.tensor([1.0, 0.0])})
    plain = {name: value for name, value in KEEN.items() if name != "gates"}
    step = Distill.model_validate({"corpus": "$c", "teacher": "$t", "losses": ["logits_kl"], **plain, **again})
    with pytest.raises(
        InputError, match=r"\$gated: was trained with gates, .*take them out first .`prune` with `by: movement`"
    ):
        step.run(Context("again", {"$gated": tmp_path}, tmp_path / "out", tmp_path / "work", 7, Ears()))


RECIPE = """\
name: gates
steps:
  c: {prepare: {source: {reviews: {rows: 600}}, task: {classify: {}}}}
  t: {teach: {corpus: $c, model: {scratch: {layers: 2, width: 32, heads: 4, ffn: 64, tokenizer: {wordpiece: {}}}}}}
  g: {distill: {corpus: $c, teacher: $t, losses: [logits_kl], student: {checkpoint: {name: $t}},
                gates: {movement: {heads: 0.5}}}}
  cut: {prune: {model: $g, corpus: $c, what: [{heads: {ratio: 0.5}}], by: movement}}
  well: {distill: {corpus: $c, teacher: $t, losses: [logits_kl], student: {checkpoint: {name: $cut}}}}
"""


def test_orders_around_gates_are_seen_in_the_recipe() -> None:
    """Prevents an hour of training before it is said that its zeros would be filled, or that it left no scores."""
    parse_recipe(RECIPE)
    again = "distill: {corpus: $c, teacher: $t, losses: [logits_kl], student: {checkpoint: {name: $g}}"
    with pytest.raises(FaultsError, match=r"well.distill.student.checkpoint.name: was trained with gates"):
        parse_recipe(RECIPE.replace("{name: $cut}", "{name: $g}"))
    parse_recipe(f"{RECIPE}  more: {{{again}, gates: {{movement: {{heads: 0.5}}}}}}}}\n")  # they shut it anew
    with pytest.raises(FaultsError, match=r"cut.prune.model: has no scores for `by: movement`"):
        parse_recipe(RECIPE.replace("model: $g", "model: $t"))
    parse_recipe(RECIPE.replace("model: $g", "model: $t").replace("[{heads: {ratio: 0.5}}]", "[{depth: {ratio: 0.5}}]")
                 .replace(", by: movement", ""))  # fmt: skip


def test_a_student_with_one_head_is_refused(taught_teacher: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevents an attention without a head, or gates that are asked for and silently do nothing."""
    one = {"tinybert": {"layers": 1, "width": 16, "heads": 1, "ffn": 32}}
    with pytest.raises(InputError, match=r"gates.movement.heads: 0.5 of layers with 1 head takes nothing away"):
        distilled(*taught_teacher, tmp_path / "student", student=one, gates={"movement": {"heads": 0.5}})


def test_losses_that_do_not_see_the_gates_are_refused(taught_teacher: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevents a training of the embeddings alone that shuts heads by chance."""
    with pytest.raises(InputError, match=r"no loss depends on the heads of layer 1, the ffn of layer 1"):
        distilled(*taught_teacher, tmp_path / "student", **{**KEEN, "losses": [{"hidden_mse": {"map": [[0, 0]]}}]})
