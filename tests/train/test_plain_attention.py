"""Attention in one piece is the attention that each family has."""

from __future__ import annotations

import pytest
import torch
from transformers import PreTrainedModel

from compress.train.bodies import quick_attention
from compress.train.plain_attention import LANES, NAME, plain_attention
from tests.models import tiny, tiny_gpt2

OURS = ("bert", "roberta", "distilbert", "albert", "electra")
THEIRS = ("mpnet", "deberta-v2", "gpt2")


def _said(model: PreTrainedModel, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits under padding, and the gradient of the first weight."""
    ids = torch.randint(5, 40, (3, tokens), generator=torch.Generator().manual_seed(tokens))
    mask = torch.ones_like(ids)
    mask[1, tokens // 2 :] = 0
    model.zero_grad()
    logits = model(ids, attention_mask=mask).logits
    logits.square().sum().backward()
    return logits.detach(), next(model.parameters()).grad.clone()


@pytest.mark.parametrize("family", OURS)
@pytest.mark.parametrize(("tokens", "exact"), [(3, 48), (LANES - 1, 48), (LANES, 48), (20, 48), (20, 19)])
def test_it_gives_what_sdpa_gives(family: str, tokens: int, exact: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Padding that takes a share of the attention, or a lost mask or scale, would train on other states."""
    monkeypatch.setattr("compress.train.plain_attention.EXACT_UP_TO", exact)
    torch.manual_seed(0)
    model = tiny(family, layers=2).eval()
    model.set_attn_implementation("sdpa")
    expected = _said(model, tokens)
    with plain_attention(model):
        assert model.config._attn_implementation == NAME
        found = _said(model, tokens)
    assert model.config._attn_implementation == "sdpa"
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", THEIRS)
def test_other_attentions_stay_as_their_families_have_them(family: str) -> None:
    """Biases for distances and causal masks are not in ours: the model would say something else, and no error."""
    torch.manual_seed(0)
    model = tiny_gpt2(layers=2) if family == "gpt2" else tiny(family, layers=2)
    before = model.config._attn_implementation
    expected = _said(model, 7)
    with plain_attention(model):
        assert model.config._attn_implementation == "eager"
        torch.testing.assert_close(_said(model, 7), expected, rtol=1e-4, atol=1e-5)
    assert model.config._attn_implementation == before


@pytest.mark.parametrize(("compiled", "inside"), [(False, NAME), (True, "eager")])
def test_a_compiler_gets_attention_that_it_can_follow(compiled: bool, inside: str) -> None:
    """Draws that dynamo does not know break the graph in every layer, and every length compiles anew."""
    model = tiny("bert", layers=1)
    with quick_attention(model, torch.device("cpu"), compiled):
        assert model.config._attn_implementation == inside


def test_it_drops_while_training_only() -> None:
    """A teacher with dropout would say something else each time; a student without would not be regularised."""
    model = tiny("bert", layers=1)
    for name, part in model.named_modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.5 if name.endswith("attention.self.dropout") else 0.0
    ids = torch.arange(5, 15).view(1, 10)
    with plain_attention(model):
        once, twice = model.train()(ids).logits, model(ids).logits
        assert not torch.equal(once, twice)
        assert torch.equal(model.eval()(ids).logits, model(ids).logits)
