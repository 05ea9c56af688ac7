"""Narrowing: nothing is lost but what must be, and what is kept is what counts."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForQuestionAnswering, PreTrainedModel

from compress.anatomy.base import anatomy_of
from compress.core.errors import InputError
from compress.importance.activation import Activation
from compress.importance.base import Evidence, Scores
from compress.importance.magnitude import Magnitude
from compress.importance.taylor import Taylor
from compress.students.base import STUDENTS, Given
from compress.students.bert import BertStudent
from compress.students.inherit import inherit
from compress.students.inits.base import Init
from compress.students.inits.importance import Importance
from compress.students.inits.svd import Principal, Svd
from compress.students.minilm import MiniLmStudent
from compress.students.narrowing import Narrowing
from compress.students.shape import Shape
from compress.students.spectrum import across_ones, aligned, along_ones, principal
from compress.students.tinybert import TinyBertStudent
from tests.models import HEADS, batch, tiny


def rotation(wide: int, narrow: int) -> Tensor:
    """`[wide, narrow]` orthonormal, carrying the mean to the mean, otherwise at random."""
    draw = torch.Generator().manual_seed(5)
    turn = torch.linalg.qr(torch.randn(wide - 1, narrow - 1, generator=draw, dtype=torch.float64)).Q
    found = torch.outer(along_ones(wide), along_ones(narrow)) + across_ones(wide) @ turn @ across_ones(narrow).T
    return found.float()


class Turned(Init):
    """A random turn of the hidden space."""

    def narrowing(self, teacher: PreTrainedModel, from_shape: Shape, to_shape: Shape, given: Given) -> Narrowing:
        """Of the whole width."""
        return Principal(rotation(from_shape.width, to_shape.width), from_shape=from_shape, to_shape=to_shape)


def level_norms(model: PreTrainedModel, gain: float = 1.0) -> None:
    """One gain for all axes, which is what a turn can carry over."""
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.weight.data.fill_(gain)


def states(model: PreTrainedModel, inputs: dict[str, Tensor]) -> tuple[Tensor, ...]:
    with torch.no_grad():
        found: tuple[Tensor, ...] = model.eval()(**inputs, output_hidden_states=True).hidden_states
    return found


def test_a_turned_teacher_computes_what_it_did() -> None:
    """Prevents one matrix, bias or norm that is projected on the wrong side: every state is the teacher's, turned."""
    teacher = tiny("bert")
    level_norms(teacher)
    student = HEADS["classify"].from_config(teacher.config)
    inherit(teacher, student, Turned(), {k: (k,) for k in range(1, 5)}, Given())
    space = rotation(16, 16)
    for mine, theirs in zip(states(student, batch()), states(teacher, batch()), strict=True):
        assert torch.allclose(mine, theirs @ space, atol=1e-4)
    assert torch.allclose(student(**batch()).logits, teacher(**batch()).logits, atol=1e-4)


def disguised(small: PreTrainedModel) -> PreTrainedModel:
    """A BERT of width 16 that computes what one of width 8 does: turned into 8 of its 16 dimensions, heads padded."""
    wide, space = tiny("bert", width=16), rotation(16, 8)
    for weight in wide.parameters():
        weight.data.zero_()
    level_norms(wide, 1 / math.sqrt(2))  # a norm over 16 axes gives states that are longer by the root of 2
    held = dict(small.named_parameters())
    spread = [4 * head + place for head in range(4) for place in range(2)]
    for name, weight in wide.named_parameters():
        value = held[name].detach()
        if "LayerNorm.weight" in name:
            continue
        if "intermediate" in name:
            weight.data[:16] = value @ space.T if value.dim() == 2 else value
        elif "self" in name:
            scaled = value * (math.sqrt(2) if "query" in name else 1)  # scores are divided by the root of 4, not of 2
            weight.data[spread] = scaled @ space.T if value.dim() == 2 else scaled
        elif "attention.output.dense.weight" in name:
            weight.data[:, spread] = space @ value
        elif "output.dense.weight" in name:
            weight.data[:, :16] = space @ value
        elif "pooler" in name:
            weight.data[:8] = value @ space.T if value.dim() == 2 else value
        elif name == "classifier.weight":
            weight.data[:, :8] = value
        elif name == "classifier.bias":
            weight.data.copy_(value)
        else:  # tables, and what is added to a state
            weight.data.copy_(value @ space.T)
    return wide


@pytest.mark.parametrize("samples", [0, 4])
def test_svd_finds_a_narrow_model_inside_a_wide_one(samples: int) -> None:
    """Prevents a loss where none is due: width 16 of rank 8, heads of rank 2, 32 neurons of which 16 work."""
    small = tiny("bert", width=8)
    level_norms(small)
    wide = disguised(small)
    assert torch.allclose(wide(**batch()).logits, small(**batch()).logits, atol=1e-5)
    shape = BertStudent(layers="all", width=8, heads=4, ffn=16, init=Svd(samples=samples))
    sample = Given(sample=lambda count: [batch(count)])
    built = shape.build(wide, HEADS["classify"], sample)
    assert torch.allclose(built.model.eval()(**batch()).logits, small(**batch()).logits, atol=1e-4)
    assert built.inherited["kept_energy"] == 1.0 and built.inherited["random"] == []
    told = "hidden states of 4 texts" if samples else "embeddings and weights"
    assert built.inherited["directions"] == told


def test_svd_keeps_more_of_the_embedding_than_truncation() -> None:
    """Prevents principal directions that are not: half the width must keep more of the teacher's tables than half."""
    teacher = tiny("bert")
    tables: Any = teacher.get_input_embeddings().weight.detach()
    rows = tables - tables.mean(1, keepdim=True)
    shape = BertStudent(width=8, heads=2, init=Svd(samples=0))
    built = shape.build(teacher, HEADS["classify"])
    mine: Any = built.model.get_input_embeddings()
    assert 0.5 < built.inherited["kept_energy"] < 1
    kept = (mine.weight - mine.weight.mean(1, keepdim=True)).square().sum() / rows.square().sum()
    cut = rows[:, :8] - rows[:, :8].mean(1, keepdim=True)
    assert kept > cut.square().sum() / rows.square().sum()


def test_svd_chooses_strong_heads_when_there_are_fewer() -> None:
    """Prevents heads cut through the middle, or the first ones: the two that do something are kept whole."""
    teacher = tiny("bert", layers=1)
    layer = anatomy_of(teacher).layer_list(teacher)[0]
    for name in ("query", "key", "value"):
        layer.get_parameter(f"attention.self.{name}.weight").data[[0, 1, 2, 3, 8, 9, 10, 11]] *= 0.01
    built = BertStudent(layers=1, width=8, heads=2, init=Svd(samples=0)).build(teacher, HEADS["classify"])
    bias = anatomy_of(built.model).layer_list(built.model)[0].get_parameter("attention.self.query.bias")
    theirs = layer.get_parameter("attention.self.query.bias")
    assert torch.equal(bias, theirs[[4, 5, 6, 7, 12, 13, 14, 15]])


PARTS = frozenset({"heads", "neurons", "hidden"})
LAYER = "bert.encoder.layer.{}"
ATTENTION, FEED = LAYER + ".attention.output.dense", LAYER + ".output.dense"


def by_magnitude(teacher: PreTrainedModel) -> Scores:
    return Magnitude().score(teacher, PARTS, Evidence())


def by_activation(teacher: PreTrainedModel, batches: Any) -> Scores:
    return Activation().score(teacher, PARTS, Evidence(batches=batches))


def units_of(scores: Scores) -> Tensor:
    assert scores.hidden is not None
    return scores.hidden


def test_importance_keeps_whole_heads_and_neurons_in_order() -> None:
    """Prevents rows of one matrix kept with columns of another: bias, rows and columns name the same parts."""
    teacher = tiny("bert", layers=2)
    built = BertStudent(layers="all", width=8, heads=2, ffn=9, init=Importance()).build(teacher, HEADS["classify"])
    one, two = (anatomy_of(model).layer_list(model)[1] for model in (teacher, built.model))
    scores = by_magnitude(teacher)
    heads = sorted(scores.heads[ATTENTION.format(1)].topk(2).indices.tolist())
    rows = [4 * head + place for head in heads for place in range(4)]
    units = sorted(units_of(scores).topk(8).indices.tolist())
    neurons = sorted(scores.neurons[FEED.format(1)].topk(9).indices.tolist())
    expected = {
        "attention.self.value.weight": lambda w: w[rows][:, units],
        "attention.output.dense.weight": lambda w: w[units][:, rows],
        "intermediate.dense.bias": lambda w: w[neurons],
        "output.dense.weight": lambda w: w[units][:, neurons],
        "output.LayerNorm.bias": lambda w: w[units],
    }
    for name, choose in expected.items():
        assert torch.equal(two.get_parameter(name), choose(one.get_parameter(name)))
    ratio = two.get_parameter("output.LayerNorm.weight") / one.get_parameter("output.LayerNorm.weight")[units]
    assert torch.allclose(ratio, ratio[0])  # a norm over fewer axes: one factor for all
    leading = BertStudent(layers="all", width=8, heads=2, init=Importance(hidden="leading"))
    words: Any = leading.build(teacher, HEADS["classify"]).model.get_input_embeddings()
    theirs: Any = teacher.get_input_embeddings()
    assert torch.equal(words.weight, theirs.weight[:, :8])


def test_hidden_units_are_ranked_by_what_their_norms_let_through() -> None:
    """Prevents a ranking by matrices: in trained models they are large where states are small."""
    teacher = tiny("bert", layers=2)
    for layer in anatomy_of(teacher).layer_list(teacher):
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            for kind in ("weight", "bias"):
                layer.get_parameter(f"{name}.{kind}").data[:8] *= 0.1
        layer.get_parameter("intermediate.dense.weight").data[:, :8] *= 10
    assert units_of(by_magnitude(teacher)).topk(8).indices.min() == 8
    seen = units_of(by_activation(teacher, [batch()]))
    assert seen[8:].sum() > 3 * seen[:8].sum()


def test_activation_sees_what_weights_do_not() -> None:
    """Prevents an `activation` that reads weights: a neuron that never fires counts nothing, however large it is."""
    teacher = tiny("bert", layers=1)
    layer = anatomy_of(teacher).layer_list(teacher)[0]
    layer.get_parameter("intermediate.dense.weight").data[3] *= 100
    layer.get_parameter("intermediate.dense.bias").data[3] = -1e4
    layer.get_parameter("attention.self.value.weight").data[4:8] = 0
    layer.get_parameter("attention.self.value.bias").data[4:8] = 0
    found = by_activation(teacher, [batch(), batch(3)])
    assert by_magnitude(teacher).neurons[FEED.format(0)].argmax() == 3
    neurons, heads = found.neurons[FEED.format(0)], found.heads[ATTENTION.format(0)]
    assert neurons[3] == 0 and heads[1] == 0
    assert (neurons > 0).sum() == 31 and (heads > 0).sum() == 3 and (units_of(found) > 0).all()


def task_loss(outputs: Any, inputs: Any) -> Tensor:
    return nn.functional.cross_entropy(outputs.logits, inputs["labels"])


def test_taylor_is_the_slope_of_the_loss_along_a_gate() -> None:
    """Prevents a wrong sum: |sum of activation x gradient| over a text is the slope at 1 of a gate on the neuron."""
    teacher = tiny("bert", layers=2)
    inputs = {**batch(1), "labels": torch.tensor([2])}
    found = Taylor().score(teacher, PARTS, Evidence(batches=[inputs], loss=task_loss))
    layer = anatomy_of(teacher).layer_list(teacher)[0]
    gates = {"output.dense": torch.ones(32, requires_grad=True)}
    gates["attention.output.dense"] = torch.ones(4, requires_grad=True)
    spread = {"output.dense": 1, "attention.output.dense": 4}

    def gated(name: str) -> Any:
        return lambda module, given: (given[0] * gates[name].repeat_interleave(spread[name]),)

    hooks = [layer.get_submodule(name).register_forward_pre_hook(gated(name)) for name in gates]
    loss = task_loss(teacher(**{key: value for key, value in inputs.items() if key != "labels"}), inputs)
    neurons, heads = torch.autograd.grad(loss, [gates["output.dense"], gates["attention.output.dense"]])
    for hook in hooks:
        hook.remove()
    assert torch.allclose(found.neurons[FEED.format(0)], neurons.abs(), atol=1e-6)
    assert torch.allclose(found.heads[ATTENTION.format(0)], heads.abs(), atol=1e-6)


def test_importance_asks_for_what_it_reads() -> None:
    """Prevents a ranking by nothing: no texts, no trained head or no labels are refused with another way."""
    teacher = tiny("bert")
    shape = {"width": 8, "heads": 2}
    with pytest.raises(InputError, match="looks at training texts"):
        BertStudent(**shape, init=Importance(by="activation")).build(teacher, HEADS["classify"])
    unheaded = Given(sample=lambda count: [batch(count)])
    with pytest.raises(InputError, match="no head trained"):
        BertStudent(**shape, init=Importance(by="taylor")).build(teacher, HEADS["classify"], unheaded)
    with pytest.raises(InputError, match="needs labelled texts"):
        Taylor().score(teacher, PARTS, Evidence(batches=[batch()], loss=task_loss))
    with pytest.raises(InputError, match="keeps heads whole"):
        BertStudent(width=8, heads=4, init=Importance()).build(teacher, HEADS["classify"])


def test_an_initialisation_by_name_or_with_options() -> None:
    """Prevents `init: svd` and `init: {svd: {samples: 0}}` from being two things, and a typo from passing."""
    assert BertStudent.model_validate({"init": "svd"}).init == Svd()
    assert BertStudent.model_validate({"init": {"svd": {"samples": 0}}}).init == Svd(samples=0)
    assert MiniLmStudent().dump()["init"] == {"random": {}}
    with pytest.raises(ValidationError, match="svd"):
        BertStudent.model_validate({"init": "svdd"})


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"width": 32, "heads": 4, "init": "svd"}, "width: 32 is more than the teacher's 16"),
    ({"ffn": 64, "init": "svd"}, "ffn: 64 is more than the teacher's 32"),
    ({"width": 16, "heads": 8, "init": "importance"}, "heads: 8 is more than the teacher's 4"),
    ({"width": 16, "heads": 2, "init": "svd"}, "use at least 4 heads"),
    ({"width": 16, "heads": 2, "init": "copy"}, "heads: 2 is not the teacher's 4"),
    ({"width": 8, "heads": 2, "init": "first"}, "cannot be copied whole"),
    ({"layers": 5, "init": "copy"}, "no deeper than its teacher"),
    ({"layers": 5, "init": "first"}, "no deeper than its teacher"),
    ({"width": 10, "init": "random"}, "multiple of 4"),
    ({"heads": 3, "init": "random"}, "do not divide the width 16"),
    ({"layers": 2, "map": [[1, 1], [2, 9]]}, "teacher layer 9"),
    ({"layers": 2, "map": [[1, 0], [2, 2]]}, "names each of the student's layers"),
]


@pytest.mark.parametrize(("options", "said"), REFUSED)
def test_shapes_that_cannot_be_reached_are_refused_with_the_remedy(options: dict[str, Any], said: str) -> None:
    """Prevents a failure deep inside torch, or a student that is silently half random."""
    with pytest.raises(InputError, match=said):
        BertStudent.model_validate(options).build(tiny("bert"), HEADS["classify"])


def test_first_takes_the_first_layers_and_no_map_beside_it() -> None:
    """Prevents two maps of which one is ignored."""
    teacher = tiny("bert")
    built = TinyBertStudent(layers=2, width=16, heads=4, ffn=32, init="first").build(teacher, HEADS["classify"])
    assert built.inherited["layers"] == {"1": 1, "2": 2}
    with pytest.raises(ValidationError, match="leave `map` out"):
        BertStudent(init="first", map="last")


@pytest.mark.parametrize("family", ["mpnet", "deberta-v2", "electra", "albert", "camembert", "xlm-roberta"])
def test_whole_layers_of_the_own_family_take_all_that_is_in_them(family: str) -> None:
    """Prevents a copy that leaves out relative positions, projections or shared layers."""
    teacher = tiny(family)
    shape = {"width": 16, "heads": 4, "ffn": 32, "init": "copy"}
    inputs = batch(pad=int(teacher.config.pad_token_id))
    full = TinyBertStudent(layers=4, **shape).build(teacher, HEADS["classify"])
    assert full.inherited["random"] == []
    assert torch.equal(full.model.eval()(**inputs).logits, teacher(**inputs).logits)
    half = TinyBertStudent(layers=2, map="first", **shape).build(teacher, HEADS["classify"])
    assert torch.equal(states(half.model, inputs)[1], states(teacher, inputs)[1])


@pytest.mark.parametrize("family", ["mpnet", "deberta-v2"])
def test_relative_positions_cannot_start_another_architecture(family: str) -> None:
    """Prevents layers that were trained with a bias for distances from running without it, silently."""
    with pytest.raises(InputError, match="use `init: random`"):
        BertStudent(init="copy").build(tiny(family), HEADS["classify"])
    with pytest.raises(InputError, match="use `init: random`"):
        TinyBertStudent(layers=2, width=8, heads=2, ffn=16, init="svd").build(tiny(family), HEADS["classify"])
    built = BertStudent(init="random").build(tiny(family), HEADS["classify"])
    assert built.model(**batch(pad=int(built.model.config.pad_token_id))).logits.shape == (2, 3)


def test_directions_of_the_same_width_do_not_turn() -> None:
    """Prevents rounding from creeping into a student that is as wide as its teacher."""
    moments = torch.diag(torch.arange(1.0, 17.0, dtype=torch.float64))
    assert torch.allclose(aligned(principal(moments, 15)), torch.eye(16, dtype=torch.float64), atol=1e-8)


@pytest.mark.parametrize("name", ["albert", "bert", "distilbert", "electra", "tinybert"])
@pytest.mark.parametrize("auto_class", [AutoModelForQuestionAnswering, AutoModel])
def test_spans_and_bare_bodies_are_inherited_too(name: str, auto_class: Any) -> None:
    """Prevents students for `answer` whose head stays random, and a body without a head that cannot be built."""
    config = tiny("bert").config
    config.num_labels = 2
    teacher = auto_class.from_config(config).eval()
    options: dict[str, Any] = {"layers": 4} if name != "albert" else {"embedding": 16, "layer": 2}
    options |= {"embedding": 16} if name == "electra" else {}
    options |= {"width": 16, "heads": 4, "ffn": 32} if name == "tinybert" else {}
    built = STUDENTS.get(name).model_validate({**options, "init": "copy"}).build(teacher, auto_class)
    assert [part for part in built.inherited["random"] if "pooler" not in part] == []
    if auto_class is AutoModelForQuestionAnswering:
        assert built.inherited["head"] == ["classes"]
    if name != "albert":  # its layers are one
        mine, theirs = built.model.eval()(**batch()), teacher(**batch())
        real = batch()["attention_mask"].bool()
        assert torch.allclose(mine[0][real], theirs[0][real], atol=1e-4)
