"""The model side of a cut vocabulary: fewer rows in every table of tokens, and ids in the config that follow them."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.core.errors import InputError, JobError

ROUNDING = 1e-5
"""Scores over a vocabulary come from a product with fewer columns, which a processor may add up in another order."""
_LISTS = ("suppress_tokens", "begin_suppress_tokens")


def table(model: PreTrainedModel) -> Tensor:
    """The word embedding, `[v, d]`. Raises InputError when it is not the float table that the config tells of."""
    held = model.get_input_embeddings()
    if not isinstance(held, nn.Embedding) or not held.weight.is_floating_point():
        raise InputError(
            "vocab: the word embedding is no float table (a quantized model?); cut the float model instead"
        )
    rows, said = len(held.weight), int(model.config.vocab_size)
    if rows != said:
        raise InputError(f"vocab: the word embedding has {rows} rows and config.vocab_size is {said}; mend the config")
    return held.weight


def named_ids(model: PreTrainedModel, tokens: int) -> set[int]:
    """Ids below `tokens` that the config names (`pad_token_id`, ...), with all below the padding where places count
    from it: RoBERTa's position of a token is its number among the tokens plus the id of the padding."""
    found = {number for one in _configs(model) for _, numbers in _ids(one) for number in numbers if number < tokens}
    for name, module in model.base_model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding) and module.padding_idx is not None:
            found |= set(range(module.padding_idx + 1))
    return found


def with_rows(model: PreTrainedModel, rows: Sequence[int]) -> PreTrainedModel:
    """A new model of the same class whose row i is the old row `rows[i]`, in eval mode.

    It is built from the config with the new `vocab_size`, so that the class itself says which of its weights follow the
    vocabulary (embedding, decoder, biases) and which of them are one.
    """
    config = copy.deepcopy(model.config)
    config.vocab_size = len(rows)
    new = {old: place for place, old in enumerate(rows)}
    _renumber(config, new)
    with torch.random.fork_rng(devices=[]):
        smaller: PreTrainedModel = type(model)(config)
    smaller.set_attn_implementation(model.config._attn_implementation)
    before, places = model.state_dict(), torch.tensor(rows)
    wanted = {name: value.shape for name, value in smaller.state_dict().items()}
    if set(wanted) != set(before):
        raise InputError(f"vocab: a {type(model).__name__} built from its config has other weights than this model")
    taken = {name: _taken(name, value, wanted[name], places) for name, value in before.items()}
    smaller.load_state_dict(taken)
    for name, value in smaller.state_dict().items():
        if not torch.equal(value, taken[name]):
            raise JobError(f"vocab: {name} is shared with another weight in the config and not in the model")
    generation = getattr(model, "generation_config", None)
    if generation is not None:
        smaller.generation_config = copy.deepcopy(generation)
        _renumber(smaller.generation_config, new)
    smaller.train(False)
    return smaller


def same_outputs(
    model: PreTrainedModel, smaller: PreTrainedModel, rows: Sequence[int], samples: Iterable[tuple[Any, Any]]
) -> int:
    """Compare the outputs of both models on (old, new) inputs; returns how many pairs there were.

    Everything must be equal bit for bit, except scores over the vocabulary, which are compared over the kept tokens
    within `ROUNDING`. Raises JobError at the first difference.
    """
    # A copy, since weights read from a file lie off cache lines, where some kernels round otherwise.
    old, places, count = copy.deepcopy(model).train(False), torch.tensor(rows), 0
    for before, after in samples:
        with torch.inference_mode():
            pairs = zip(_outputs(old, before), _outputs(smaller, after), strict=True)
            for one, two in pairs:
                over_tokens = one.shape != two.shape
                if over_tokens and one.shape[-1] == model.config.vocab_size and two.shape[-1] == len(rows):
                    equal = torch.allclose(one[..., places], two, rtol=ROUNDING, atol=ROUNDING)
                else:
                    equal = not over_tokens and torch.equal(one, two)
                if not equal:
                    raise JobError(
                        "vocab: the model of fewer tokens gives other outputs on covered text; it is not kept"
                    )
        count += 1
    return count


def _outputs(model: PreTrainedModel, given: Mapping[str, Tensor]) -> list[Tensor]:
    taken = inspect.signature(model.forward).parameters
    more = {"decoder_input_ids": given["input_ids"]} if "decoder_input_ids" in taken else {}
    extra = {"use_cache": False} if "use_cache" in taken else {}
    outputs = model(**given, **more, **extra, output_hidden_states=True)
    found: list[Tensor] = []
    for value in outputs.to_tuple():
        found += [value] if isinstance(value, Tensor) else [one for one in value if isinstance(one, Tensor)]
    return found


def _taken(name: str, value: Tensor, wanted: torch.Size, places: Tensor) -> Tensor:
    if value.shape == wanted:
        return value
    if value.shape[1:] != wanted[1:] or len(places) != wanted[0]:
        raise InputError(f"vocab: {name} has shape {list(value.shape)} and the config says {list(wanted)}")
    return value.index_select(0, places.to(value.device))


def _configs(model: PreTrainedModel) -> list[Any]:
    return [one for one in (model.config, getattr(model, "generation_config", None)) if one is not None]


def _ids(config: Any) -> list[tuple[str, list[int]]]:
    """The names in a config that hold ids of tokens, with these."""
    found = []
    for name, value in sorted(vars(config).items()):
        if name.endswith("_token_id") and value is not None:
            found.append((name, [value] if isinstance(value, int) else list(value)))
    return found


def _renumber(config: Any, new: Mapping[int, int]) -> None:
    """Ids as they are now; an id that named no token of the tokenizer names none any more."""
    for name, numbers in _ids(config):
        moved = [new[number] for number in numbers if number in new]
        one = isinstance(getattr(config, name), int)
        setattr(config, name, (moved[0] if moved else None) if one else moved)
    for name in _LISTS:
        listed: list[int] = getattr(config, name, None) or []
        if listed:
            setattr(config, name, [new[number] for number in listed if number in new])
