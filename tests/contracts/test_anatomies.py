"""What every anatomy must say truly; a new file under compress/anatomy is picked up by name."""

from __future__ import annotations

import pytest
import torch

from compress.anatomy.base import ANATOMIES, anatomy_of
from compress.anatomy.capture import Tap, Wanted
from compress.anatomy.heads import head_parts
from compress.core.errors import InputError
from tests.models import HEADS, inputs_for, tiny

EVERY = frozenset(range(5))


@pytest.mark.parametrize("family", ANATOMIES.names())
def test_hidden_states_are_those_of_transformers(family: str) -> None:
    """Prevents an off-by-one: layer 0 is what the first layer reads and layer k what the k-th application gives."""
    model = tiny(family)
    inputs = inputs_for(model)
    expected = model(**inputs, output_hidden_states=True).hidden_states
    with Tap(model, Wanted(hidden=EVERY, logits=False)) as tap:
        trace = tap(inputs)
    assert trace.depth == 4
    for layer in EVERY:
        assert torch.equal(trace.hidden_at(layer), expected[layer])


@pytest.mark.parametrize("family", ANATOMIES.names())
def test_scores_become_the_attention_of_transformers(family: str) -> None:
    """Prevents wrong heads or scale: softmax of the scores is the model's attention, or the scores are refused."""
    model = tiny(family)
    inputs = inputs_for(model)
    model.set_attn_implementation("eager")
    expected = model(**inputs, output_attentions=True).attentions
    with Tap(model, Wanted(attention=frozenset({1, 3}))) as tap:
        trace = tap(inputs)
    hidden = (inputs["attention_mask"] == 0)[:, None, None, :]
    for layer in (1, 3):
        if anatomy_of(model).scores_lack:
            with pytest.raises(InputError, match="scores also have"):
                trace.attention_scores(layer)
            continue
        found = trace.attention_scores(layer).masked_fill(hidden, float("-inf")).softmax(-1)
        assert torch.allclose(found, expected[layer - 1], atol=1e-6)


@pytest.mark.parametrize("family", ANATOMIES.names())
def test_every_named_part_is_there(family: str) -> None:
    """Prevents an anatomy that names a part which the installed transformers calls otherwise."""
    model = tiny(family)
    anatomy = anatomy_of(model)
    layer = anatomy.layer_list(model)[0]
    for name in anatomy.layer_parts():
        assert list(layer.get_submodule(name).parameters())
    names = [anatomy.embeddings, anatomy.word_embeddings, anatomy.embedding_norm]
    if getattr(model.config, "position_biased_input", True):
        names.append(anatomy.position_embeddings)
    for name in names:
        assert list(model.base_model.get_submodule(name).parameters())
    shape = anatomy.depth(model), anatomy.heads(model), anatomy.width(model), anatomy.ffn_width(model)
    assert shape == (4, 4, 16, 32)
    assert {anatomy.config_names[name] for name in ("layers", "width", "heads", "ffn")} <= set(model.config.to_dict())


@pytest.mark.parametrize("family", ANATOMIES.names())
@pytest.mark.parametrize("head", list(HEADS))
def test_every_head_is_found(family: str, head: str) -> None:
    """Prevents a head that silently stays random in every student of the family, because nobody finds its parts."""
    parts = head_parts(tiny(family, head=head, labels=2))
    wanted = {"classify": {"dense", "classes"}, "tag": {"classes"}, "mask": {"dense", "norm"}, "answer": {"classes"}}
    assert set(parts) == wanted[head]


@pytest.mark.parametrize("family", ANATOMIES.names())
def test_without_logits_the_head_does_not_run_and_the_states_are_the_same(family: str) -> None:
    """Prevents a general stage that multiplies by the whole vocabulary for nothing, or sees other states for it."""
    model = tiny(family)
    inputs = inputs_for(model)
    with Tap(model, Wanted(hidden=frozenset({0, 4}))) as tap:
        expected = tap(inputs)
    with Tap(model, Wanted(hidden=frozenset({0, 4}), logits=False)) as tap:
        found = tap(inputs)
    assert expected.logits is not None and found.logits is None
    assert all(torch.equal(found.hidden_at(layer), expected.hidden_at(layer)) for layer in (0, 4))
