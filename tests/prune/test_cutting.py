"""Heads and neurons out of every family: equal to the masked original, as small as counted by hand, tied as before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    GPT2ForSequenceClassification,
    GPT2Model,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    T5EncoderModel,
    T5ForSequenceClassification,
)

from compress.anatomy.base import prunable_families, structure_of
from compress.core.errors import InputError
from compress.importance.masks import Masks, ones
from compress.prune.masked_cut import cut_masked
from compress.prune.proof import prove
from compress.prune.slicing import Slice, sliced, tied
from tests.models import HEADS, prunable, tiny, tiny_gpt2, tiny_t5


def uneven(model: PreTrainedModel, real: bool = False) -> Masks:
    """Masks that differ by layer where the family lets them; of numbers beside 0 and 1 when `real`."""
    masks = ones(model)
    draw = torch.Generator().manual_seed(3)
    apart: dict[str, Tensor] = {}
    for place, block in enumerate(structure_of(model).attention_blocks(model)):
        kept = torch.ones(block.heads)
        kept[place % block.heads] = 0
        kept[(place + 1) % block.heads] = place % 2
        masks.heads[block.name] = apart.setdefault(block.together or block.name, kept).clone()
    for place, (name, mask) in enumerate(masks.neurons.items()):
        masks.neurons[name] = mask.clone()
        masks.neurons[name][torch.randperm(len(mask), generator=draw)[: 5 + place]] = 0
    if real:
        for mask in masks.every():
            mask *= 0.5 + torch.rand(len(mask), generator=draw)
    return masks


def parameters(model: nn.Module) -> int:
    """Each counted once."""
    return sum(value.numel() for value in model.parameters())


@pytest.mark.parametrize("real", [False, True], ids=["binary", "folded"])
@pytest.mark.parametrize("family", prunable_families())
def test_a_cut_model_is_its_masked_original(family: str, real: bool) -> None:
    """Prevents wrong heads after a cut, which still run, and masks that are rounded or dropped in the weights."""
    model = prunable(family)
    masks = uneven(model, real)
    facts = prove(model, cut_masked(model, masks), masks)
    assert facts["difference"]["float64"] < 1e-10
    assert facts["difference"]["float32"] < 1e-5
    assert facts["parameters"]["after"] == facts["parameters"]["planned"] < facts["parameters"]["before"]


@pytest.mark.parametrize("head", list(HEADS))
@pytest.mark.parametrize("family", ["bert", "distilbert", "electra"])
def test_every_head_stands_on_a_cut_body(family: str, head: str) -> None:
    """Prevents a task whose outputs do not follow from the cut layers."""
    model = tiny(family, head=head, labels=2, layers=2)
    masks = uneven(model)
    prove(model, cut_masked(model, masks), masks)


@pytest.mark.parametrize(
    "make",
    [
        lambda: tiny_gpt2(layers=2, head=GPT2Model),
        lambda: tiny_gpt2(layers=2, head=GPT2ForSequenceClassification),
        lambda: tiny_gpt2(layers=2, scale_attn_by_inverse_layer_idx=True),
        lambda: tiny_t5(head=T5EncoderModel),
        lambda: tiny_t5(head=T5ForSequenceClassification),
        lambda: tiny_t5(gated=False),
    ],
    ids=["gpt2", "gpt2-classify", "gpt2-scaled", "t5-encoder", "t5-classify", "t5-first"],
)
def test_other_forms_of_decoders_are_cut(make: Callable[[], PreTrainedModel]) -> None:
    """Prevents a cut that knows one class of a family only."""
    model = make()
    masks = uneven(model)
    prove(model, cut_masked(model, masks), masks)


def test_the_number_of_parameters_is_that_counted_by_hand() -> None:
    """Prevents a plan and a cut that forget the same matrix: BERT of width 16, heads of 4, one layer cut."""
    model = tiny("bert", layers=2)
    masks = ones(model)
    masks.heads["bert.encoder.layer.0.attention.output.dense"][1] = 0
    masks.neurons["bert.encoder.layer.1.output.dense"][:3] = 0
    smaller = cut_masked(model, masks)
    head = 3 * 4 * (16 + 1) + 4 * 16
    neurons = 3 * (16 + 1) + 3 * 16
    assert parameters(smaller) == parameters(model) - head - neurons
    first = smaller.get_submodule("bert.encoder.layer.0.attention.self")
    assert (first.num_attention_heads, first.all_head_size, first.query.weight.shape) == (3, 12, (12, 16))  # type: ignore[union-attr]


def test_the_original_stays_as_it_is() -> None:
    """Prevents a pruner that spoils the model which the next one, and the proof, compare with."""
    model = tiny("bert", layers=2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    masks = uneven(model, real=True)
    prove(model, cut_masked(model, masks), masks)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert set(before) == set(model.state_dict())


def test_shared_tables_lose_the_columns_of_the_heads() -> None:
    """Prevents relative biases that go on to the wrong heads (MPNet, T5), or block a cut."""
    for model, table in (
        (tiny("mpnet", layers=2), "mpnet.encoder.relative_attention_bias"),
        (tiny_t5(), "decoder.block.0.layer.0.SelfAttention.relative_attention_bias"),
    ):
        masks = ones(model)
        for block in structure_of(model).attention_blocks(model):
            if block.table == table:
                masks.heads[block.name] = torch.tensor([0.0, 1.0, 0.0, 1.0])
        smaller = cut_masked(model, masks)
        left = smaller.get_submodule(table).get_parameter("weight")
        assert torch.equal(left, model.get_submodule(table).get_parameter("weight")[:, [1, 3]])


def test_position_projections_are_cut_with_their_heads() -> None:
    """Prevents a DeBERTa with projections of its own for positions whose heads no longer meet."""
    model = deberta(share_att_key=False)
    masks = uneven(model)
    smaller = cut_masked(model, masks)
    layer = "deberta.encoder.layer.0.attention.self"
    assert smaller.get_submodule(f"{layer}.pos_key_proj").get_parameter("weight").shape == (12, 16)
    prove(model, smaller, masks)


def deberta(**options: Any) -> PreTrainedModel:
    """A DeBERTa-v2 of two layers with other options."""
    config = type(tiny("deberta-v2", layers=2).config)(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=32,
        max_position_embeddings=20, relative_attention=True, pos_att_type=["p2c", "c2p"], **options,
    )  # fmt: skip
    torch.manual_seed(0)
    made: PreTrainedModel = HEADS["classify"].from_config(config)
    for parameter in made.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    return made.eval()


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_a_cut_model_can_be_cut_again(family: str) -> None:
    """Prevents blocks that are read off the config, which knows one number of heads, after layers differ."""
    model = prunable(family)
    once = cut_masked(model, uneven(model))
    masks = ones(once)
    for name, mask in masks.neurons.items():
        masks.neurons[name] = mask.clone()
        masks.neurons[name][0] = 0
    twice = cut_masked(once, masks)
    prove(once, twice, masks)
    assert parameters(twice) < parameters(once)


def test_equal_cuts_are_said_in_the_config() -> None:
    """Prevents folders that need a class of their own although a stock one can hold them."""
    for family, name in (
        ("bert", "intermediate_size"),
        ("distilbert", "hidden_dim"),
        ("gpt2", "n_inner"),
        ("t5", "d_ff"),
    ):
        model = prunable(family)
        masks = ones(model)
        masks.neurons = {name: torch.arange(len(mask)) % 2 for name, mask in masks.neurons.items()}
        smaller = cut_masked(model, masks)
        assert getattr(smaller.config, name) == next(iter(masks.neurons.values())).count_nonzero()
    for family, name in (("deberta-v2", "num_attention_heads"), ("t5", "num_heads")):
        model = prunable(family)
        masks = ones(model)
        masks.heads = {name: torch.tensor([1, 0, 0, 1]) for name in masks.heads}
        assert getattr(cut_masked(model, masks).config, name) == 2


def test_tied_and_frozen_weights_stay_so() -> None:
    """Prevents a cut that gives a masked-token head a matrix of its own, or trains what was frozen."""
    model = tiny("bert", head="mask", layers=2)
    frozen = "bert.encoder.layer.0.output.dense.weight"
    model.get_parameter(frozen).requires_grad_(False)
    smaller = cut_masked(model, uneven(model))
    assert tied(smaller) == tied(model) != []
    assert not smaller.get_parameter(frozen).requires_grad
    assert smaller.get_parameter("bert.encoder.layer.1.output.dense.weight").requires_grad


def test_masks_that_take_nothing_change_nothing() -> None:
    """Prevents a copy that differs although every mask is 1."""
    model = tiny("bert", layers=2)
    same = cut_masked(model, Masks({}, ones(model).neurons))
    assert all(torch.equal(value, same.state_dict()[name]) for name, value in model.state_dict().items())


ATTENTION, FEED = "bert.encoder.layer.0.attention.output.dense", "bert.encoder.layer.1.output.dense"


@pytest.mark.parametrize(
    ("heads", "neurons", "says"),
    [
        ({ATTENTION: torch.zeros(4)}, {}, "all 4 heads of layer 1 .* keep one"),
        ({}, {FEED: torch.zeros(32)}, "all 32 neurons of layer 2 .* keep one"),
        ({ATTENTION: torch.ones(3)}, {}, "has 4 heads, and its mask the shape \\[3\\]"),
        ({ATTENTION: torch.ones(2, 4)}, {}, "the same for all rows"),
        ({}, {FEED: torch.full((32,), float("nan"))}, "NaN or infinity"),
        ({ATTENTION.replace("0", "7"): torch.ones(4)}, {}, "does not have; did you mean"),
    ],
    ids=["no-heads", "no-neurons", "too-short", "per-row", "nan", "unknown"],
)
def test_wrong_masks_are_refused(heads: dict[str, Tensor], neurons: dict[str, Tensor], says: str) -> None:
    """Prevents a layer that lets nothing through, and masks that are taken for those of another part."""
    with pytest.raises(InputError, match=says):
        cut_masked(tiny("bert", layers=2), Masks(heads, neurons))


@pytest.mark.parametrize("family", ["mpnet", "t5"])
def test_heads_that_share_biases_go_together(family: str) -> None:
    """Prevents layers that add the biases of one head to the scores of another."""
    model = prunable(family)
    masks = ones(model)
    name = next(iter(masks.heads))
    masks.heads[name] = torch.tensor([1.0, 0.0, 1.0, 1.0])
    with pytest.raises(InputError, match="must keep the same heads; came"):
        cut_masked(model, masks)


def test_other_families_are_refused_by_name() -> None:
    """Prevents a cut by guesses."""
    config = LlamaConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, pad_token_id=0,
        bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    with pytest.raises(InputError, match="family 'llama' cannot be pruned yet .*gpt2"):
        cut_masked(LlamaForCausalLM(config), Masks({}, {}))


def test_cross_attention_is_refused() -> None:
    """Prevents a decoder of which half the attentions stay whole, unseen."""
    model = tiny_gpt2(layers=1, add_cross_attention=True)
    with pytest.raises(InputError, match="add_cross_attention"):
        cut_masked(model, Masks({}, {}))


def test_quantized_matrices_are_refused() -> None:
    """Prevents rows cut out of packed integers."""
    part = torch.ao.nn.quantized.dynamic.Linear(4, 4)
    with pytest.raises(InputError, match="before a model is quantized"):
        sliced(part, Slice("layer", "out", torch.tensor([0])))
