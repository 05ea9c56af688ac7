"""Hidden units with their heads out of every encoder: equal to the masked original, and a stock model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModel, BertForPreTraining, PreTrainedModel

from compress.anatomy.base import ANATOMIES, structure_of
from compress.core.errors import InputError
from compress.prune.kept_units import UnitPlan, keep_units
from compress.prune.proof import prove
from tests.models import HEADS, KINDS, OWN, inputs_for, tiny, tiny_gpt2, tiny_t5

UNITS = torch.tensor([0, 2, 3, 5, 6, 7, 9, 11, 12, 13, 14, 15])
EACH = {**HEADS, "none": AutoModel}


def heads_of(model: PreTrainedModel) -> dict[str, Tensor]:
    """Three of four heads, others in each layer where they need not be the same."""
    found = {}
    for place, block in enumerate(structure_of(model).attention_blocks(model)):
        gone = 0 if block.together else place % 4
        found[block.name] = torch.tensor([head for head in range(4) if head != gone])
    return found


def stock_shapes(model: PreTrainedModel) -> dict[str, torch.Size]:
    """The shapes that the model's class makes of its config."""
    with torch.device("meta"):
        return {name: value.shape for name, value in type(model)(model.config).named_parameters()}


@pytest.mark.parametrize("head", ["classify", "mask"])
@pytest.mark.parametrize("family", ANATOMIES.names())
def test_a_narrower_model_is_its_masked_original(family: str, head: str) -> None:
    """Prevents a place of the hidden axis that keeps other units, norms over what is gone, and configs that lie."""
    model = tiny(family, head=head, layers=2)
    heads = heads_of(model)
    smaller = keep_units(model, UNITS, heads)
    facts = prove(model, smaller, UnitPlan(UNITS, heads))
    assert facts["difference"]["float64"] < 1e-10
    assert {name: value.shape for name, value in smaller.named_parameters()} == stock_shapes(smaller)
    assert smaller.config.hidden_size == 12 and smaller.config.num_attention_heads == 3


@pytest.mark.parametrize("head", ["tag", "answer", "none"])
def test_every_head_stands_on_a_narrower_body(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a task whose classes read units in the wrong places."""
    monkeypatch.setitem(HEADS, head, EACH[head])
    for family in ("bert", "distilbert", "roberta"):
        model = tiny(family, head=head, layers=1, labels=2)
        heads = heads_of(model)
        prove(model, keep_units(model, UNITS, heads), UnitPlan(UNITS, heads))


def test_a_narrower_folder_opens_as_stock(tmp_path: Path) -> None:
    """Prevents a width that no stock class can read, or reads into other heads."""
    for family in ("distilbert", "albert", "mpnet"):
        model = tiny(family, layers=2)
        smaller = keep_units(model, UNITS, heads_of(model))
        smaller.save_pretrained(tmp_path / family)
        opened = type(model).from_pretrained(tmp_path / family).eval()
        inputs = inputs_for(model)
        assert torch.equal(opened(**inputs).logits, smaller(**inputs).logits)


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A function that changes what the tiny models of a family are."""

    def change(family: str, **options: Any) -> None:
        monkeypatch.setitem(OWN, family, {**OWN.get(family, {}), **options})

    yield change


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("deberta-v2", {"share_att_key": False, "conv_kernel_size": 3, "norm_rel_ebd": "none", "type_vocab_size": 2}),
        ("deberta-v2", {"embedding_size": 8}),
        ("electra", {"embedding_size": 16}),
        ("albert", {"embedding_size": 16}),
    ],
    ids=["deberta-conv", "deberta-factorized", "electra-whole", "albert-as-wide"],
)
def test_other_forms_of_a_family_are_narrowed(family: str, options: dict[str, Any], others: Any) -> None:
    """Prevents a convolution, a table or a projection that only some checkpoints have and that stays as it is."""
    others(family, **options)
    for head in ("classify", "mask"):
        model = tiny(family, head=head, layers=2)
        heads = heads_of(model)
        smaller = keep_units(model, UNITS, heads)
        prove(model, smaller, UnitPlan(UNITS, heads))
        assert {name: value.shape for name, value in smaller.named_parameters()} == stock_shapes(smaller)


def test_the_embedding_space_of_factorized_tables_stays() -> None:
    """Prevents ALBERT's small tables from losing units that are none of the hidden ones."""
    model = tiny("albert", layers=2)
    smaller = keep_units(model, UNITS, heads_of(model))
    table = "albert.embeddings.word_embeddings.weight"
    assert torch.equal(smaller.get_parameter(table), model.get_parameter(table))


BLOCKS = [f"bert.encoder.layer.{layer}.attention.output.dense" for layer in range(2)]
THREE = torch.tensor([0, 1, 2])


@pytest.mark.parametrize(
    ("units", "heads", "says"),
    [
        (UNITS[:8], dict.fromkeys(BLOCKS, THREE), "keep 12 units, or other heads"),
        (UNITS, {BLOCKS[0]: THREE, BLOCKS[1]: THREE[:2]}, "the same number in each"),
        (UNITS, {BLOCKS[0]: THREE}, f"those of {BLOCKS[1]} are missing"),
        (UNITS, {name: torch.tensor([1, 2, 4]) for name in BLOCKS}, "from 0 to 3"),
        (UNITS.flip(0), dict.fromkeys(BLOCKS, THREE), "ascending"),
        (torch.tensor([]), dict.fromkeys(BLOCKS, THREE), "hidden units to keep"),
        (torch.ones(16, dtype=torch.bool), dict.fromkeys(BLOCKS, THREE), "hidden units to keep"),
    ],
    ids=["ratio", "apart", "missing", "unknown", "order", "none", "mask"],
)
def test_wrong_widths_are_refused(units: Tensor, heads: dict[str, Tensor], says: str) -> None:
    """Prevents heads of another width than before, which a stock class would make of such a config."""
    with pytest.raises(InputError, match=says):
        keep_units(tiny("bert", layers=2), units, heads)


def test_the_width_of_embeddings_is_refused_where_it_hides_the_projection() -> None:
    """Prevents an ELECTRA that drops its projection when it is opened."""
    model = tiny("electra", layers=1)
    heads = {block.name: torch.tensor([0, 1]) for block in structure_of(model).attention_blocks(model)}
    with pytest.raises(InputError, match="no projection between them"):
        keep_units(model, UNITS[:8], heads)


def test_decoders_and_unknown_heads_are_refused() -> None:
    """Prevents a width that is cut in part."""
    for model in (tiny_gpt2(layers=1), tiny_t5()):
        with pytest.raises(InputError, match="width of .* cannot be cut; expected an encoder"):
            keep_units(model, UNITS, heads_of(model))
    model = BertForPreTraining(KINDS["bert"](vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=4))
    with pytest.raises(InputError, match="width of .* cannot be cut|two layers before"):
        keep_units(model, UNITS, heads_of(model))
