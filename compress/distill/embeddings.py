"""A teacher's embeddings moved to another vocabulary, for students with a tokenizer of their own."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.anatomy.base import anatomy_of
from compress.core.errors import InputError
from compress.core.family import stock_family
from compress.distill.spelling import pieces_of

_IDS = ("pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id", "cls_token_id", "mask_token_id", "unk_token_id")
_INSTEAD = {"bos_token_id": "cls_token_id", "eos_token_id": "sep_token_id"}


@torch.no_grad()
def with_vocabulary(teacher: PreTrainedModel, theirs: Any, mine: Any) -> tuple[PreTrainedModel, dict[str, int]]:
    """The teacher as it would be with the tokenizer `mine`, for a student to be built from; and how it came about.

    A new token gets the mean of the teacher's embeddings of the pieces that its text splits into under `theirs`:
    `copied` counts tokens of one piece, `averaged` of several, `random` of none (drawn with the mean and deviation of
    the teacher's, from torch's global generator). A masked-token head's bias moves the same way. All other weights are
    the teacher's own, not copies; the teacher stays as it is.
    """
    rows = max(mine.get_vocab().values()) + 1
    pieces = pieces_of(mine, theirs)
    copied = {id(weight): weight for weight in (*teacher.parameters(), *teacher.buffers())}
    moved = copy.deepcopy(teacher, copied)  # the memo makes every weight shared
    table = _moved(_table(teacher), pieces, rows)
    words = nn.Embedding(rows, table.shape[1], padding_idx=mine.pad_token_id, _weight=table, device=table.device)
    moved.set_input_embeddings(words)
    _move_head(teacher, moved, pieces, words)
    moved.config.vocab_size = rows
    _name_ids(moved.config, mine)
    counts = [len(pieces.get(number, [])) for number in range(rows)]
    several = sum(count > 1 for count in counts)
    return moved, {"copied": counts.count(1), "averaged": several, "random": counts.count(0)}


def check_padding(student: PreTrainedModel, tokenizer: Any) -> None:
    """Raises InputError for a tokenizer whose padding id the student's family cannot count positions from."""
    offset = anatomy_of(student).position_offset
    if offset and tokenizer.pad_token_id != offset - 1:
        raise InputError(
            f"models of the family {stock_family(student.config)} count positions from a padding id of {offset - 1}, "
            f"and the student's tokenizer pads with {tokenizer.pad_token_id}; use `tokenizer: byte_bpe`, another one "
            f"that pads so, or a student of another family (distilbert)"
        )


def _table(model: PreTrainedModel) -> Tensor:
    found: Tensor = model.get_input_embeddings().weight  # type: ignore[assignment]
    return found


def _moved(old: Tensor, pieces: dict[int, list[int]], rows: int) -> Tensor:
    """`[rows, ...]`: means of rows of `old` `[v, ...]`, drawn where a token has no pieces."""
    owners = torch.tensor([number for number, found in pieces.items() for _ in found], device=old.device)
    sources = torch.tensor([piece for found in pieces.values() for piece in found], device=old.device)
    shape = (rows, *old.shape[1:])
    new = torch.zeros(shape, dtype=old.dtype, device=old.device).index_add_(0, owners, old[sources])
    counts = torch.bincount(owners, minlength=rows).view(-1, *[1] * (old.dim() - 1))
    drawn = old.mean(0) + old.std(0) * torch.randn(shape, dtype=old.dtype).to(old.device)
    return torch.where(counts > 0, new / counts.clamp(min=1), drawn)


def _move_head(teacher: Any, moved: Any, pieces: dict[int, list[int]], words: nn.Embedding) -> None:
    """The output side of a masked-token head: tied to the embeddings, or moved as they are; and its bias."""
    before, decoder = teacher.get_output_embeddings(), moved.get_output_embeddings()
    if before is None:
        return
    rows = words.num_embeddings
    tied = before.weight is _table(teacher)
    decoder.weight = words.weight if tied else nn.Parameter(_moved(before.weight, pieces, rows))
    decoder.out_features = rows
    if getattr(before, "bias", None) is None:
        return
    decoder.bias = nn.Parameter(_moved(before.bias, pieces, rows))
    name = anatomy_of(teacher).mask_bias
    if name:
        parent, _, last = name.rpartition(".")
        setattr(moved.get_submodule(parent), last, decoder.bias)


def _name_ids(config: Any, tokenizer: Any) -> None:
    """The special ids that a config of this family names, as the tokenizer has them."""
    for name in _IDS:
        if getattr(config, name, None) is not None:
            number = getattr(tokenizer, name)
            setattr(config, name, getattr(tokenizer, _INSTEAD[name]) if number is None and name in _INSTEAD else number)
