"""What every student and every initialisation must do; a new file under compress/students is picked up by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from compress.core.errors import InputError
from compress.core.layer_maps import LayerMap
from compress.core.options import Choice
from compress.students.base import STUDENTS, Built, Given, StudentArchitecture
from compress.students.inits.base import INITS
from tests.models import HEADS, batch, inputs_for, tiny
from tests.students.tools import TASKS, saved

SMALL: dict[str, dict[str, Any]] = {
    "albert": {"embedding": 8},
    "electra": {"embedding": 8},
    "minilm": {"layers": 2, "width": 8, "heads": 2, "ffn": 16},
    "tinybert": {"layers": 2, "width": 8, "heads": 2, "ffn": 16},
}
FULL: dict[str, dict[str, Any]] = {
    **SMALL,
    "minilm": {"layers": 2, "width": 16, "heads": 4, "ffn": 32},
    "tinybert": {"layers": 2, "width": 16, "heads": 4, "ffn": 32},
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BERT that exists already."""
    folder = tmp_path_factory.mktemp("checkpoint")
    saved(tiny("bert", layers=2, width=8), "classify", folder)
    return folder


def student(name: str, checkpoint: Path, **options: Any) -> StudentArchitecture:
    """A student by name, small where its defaults are not."""
    given = {"name": str(checkpoint)} if name == "checkpoint" else SMALL.get(name, {})
    made = Choice(STUDENTS).parse({name: {**given, **options}})
    assert isinstance(made, StudentArchitecture)
    return made


def attempted(one: StudentArchitecture, teacher: PreTrainedModel, head: str) -> Built | str:
    """The student, or why it cannot be."""
    try:
        return one.build(teacher, HEADS[head])
    except InputError as refusal:
        return str(refusal)


@pytest.mark.parametrize("name", STUDENTS.names())
@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("head", list(TASKS))
def test_builds_runs_and_loads_again_as_a_stock_model(
    name: str, family: str, head: str, checkpoint: Path, tmp_path: Path
) -> None:
    """Prevents a student that plain transformers opens as something else, or cannot open at all."""
    teacher = tiny(family, head=head)
    built = attempted(student(name, checkpoint), teacher, head)
    if isinstance(built, str):
        assert ";" in built  # what came; what to do
        return
    assert type(built.model).__module__.startswith("transformers.models.")
    inputs = inputs_for(built.model)
    with torch.no_grad():
        logits = built.model.eval()(**inputs).logits
        expected = teacher(**inputs).logits
    assert logits.shape == expected.shape and torch.isfinite(logits).all()
    about = saved(built.model, head, tmp_path, built.tokenizer)
    assert about["family"] == built.model.config.model_type
    again = HEADS[head].from_pretrained(tmp_path).eval()
    with torch.no_grad():
        assert torch.equal(again(**inputs).logits, logits)
    assert {"shape", "random"} <= set(json.loads(json.dumps(built.inherited)))


@pytest.mark.parametrize("name", STUDENTS.names())
def test_the_teacher_is_left_as_it_was(name: str, checkpoint: Path) -> None:
    """Prevents a build that writes into its teacher, or shares a tensor with it that training would change."""
    teacher = tiny("bert")
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    built = student(name, checkpoint).build(teacher, HEADS["classify"])
    for weight in built.model.parameters():
        weight.data.add_(1)
    assert all(torch.equal(before[key], value) for key, value in teacher.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in teacher.modules())


def started(name: str, init: str, layer_map: LayerMap | None = None) -> tuple[Built, Any]:
    """A student of the teacher's widths, where every initialisation can work, and its teacher."""
    teacher = tiny("bert")
    options = {**FULL.get(name, {}), "init": init, **({"map": layer_map} if layer_map else {})}
    built = student(name, Path(), **options).build(teacher, HEADS["classify"], Given(sample=lambda count: [batch(3)]))
    return built, teacher


@pytest.mark.parametrize("init", INITS.names())
@pytest.mark.parametrize("name", ["bert", "distilbert", "electra", "tinybert"])
def test_an_initialisation_inherits_all_or_says_what_it_does_not(name: str, init: str) -> None:
    """Prevents a weight that stays random without a word, and a `random` start that is none."""
    built, _ = started(name, init)
    torch.manual_seed(1)
    drawn = type(built.model)(built.model.config)
    if init == "random":
        assert built.inherited["random"] == ["all weights"] and "layers" not in built.inherited
        return
    assert built.inherited["init"] == init and built.inherited["random"] == []
    matrices = {key: value for key, value in built.model.named_parameters() if value.dim() > 1}
    others = dict(drawn.named_parameters())
    assert all(not torch.allclose(value, others[key], atol=1e-3) for key, value in matrices.items())


@pytest.mark.parametrize("init", sorted(set(INITS.names()) - {"random"}))
def test_with_nothing_cut_an_initialisation_is_the_teacher(init: str) -> None:
    """Prevents a reduction that loses or turns something where there is nothing to reduce."""
    teacher = tiny("bert")
    built = student("bert", Path(), layers="all", init=init).build(teacher, HEADS["classify"])
    with torch.no_grad():
        assert torch.allclose(built.model.eval()(**batch()).logits, teacher(**batch()).logits, atol=1e-6)
