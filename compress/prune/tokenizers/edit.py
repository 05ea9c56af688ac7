"""A whole tokenizer.json with fewer tokens: the model, and every place that names a token by its id."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedConfig

from compress.core.errors import InputError
from compress.prune.tokenizers.base import Cutter
from compress.prune.tokenizers.byte_bpe import ByteBPECutter
from compress.prune.tokenizers.unigram import UnigramCutter
from compress.prune.tokenizers.wordpiece import WordPieceCutter
from compress.train.folder import quiet

FILE = "tokenizer.json"
_WITHOUT_IDS = ("ByteLevel",)


def cutter_of(tokenizer: Any) -> Cutter:
    """The cutter for a fast tokenizer. Raises InputError with the reason when there is none that can cut it."""
    if not getattr(tokenizer, "is_fast", False):
        raise InputError(
            "vocab: a slow tokenizer cannot be cut; give the model a tokenizer.json (AutoTokenizer saves it)"
        )
    data = json.loads(tokenizer.backend_tokenizer.to_str())
    kinds: dict[str, type[WordPieceCutter] | type[ByteBPECutter] | type[UnigramCutter]] = {
        "WordPiece": WordPieceCutter,
        "BPE": ByteBPECutter,
        "Unigram": UnigramCutter,
    }
    kind = str(data["model"].get("type"))
    if kind not in kinds:
        raise InputError(f"vocab: a tokenizer of the kind {kind} cannot be cut; {', '.join(kinds)} can")
    fault = kinds[kind].fault(data)
    if fault:
        raise InputError(f"vocab: this {kind} tokenizer cannot be cut: {fault}")
    processor = _unknown_processor(data["post_processor"])
    if processor:
        raise InputError(f"vocab: this tokenizer adds tokens by a {processor}, whose ids cannot be renumbered")
    return kinds[kind](data)


def bare(tokenizer: Any) -> Tokenizer:
    """A tokenizer of the library alone, without truncation and padding."""
    plain = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    plain.no_truncation()
    plain.no_padding()
    return plain


def tokens_by_id(cutter: Cutter) -> list[tuple[int, str]]:
    """(id, token) of the model and of what was added to it, by id."""
    own = cutter.vocabulary()
    taken = {number for number, _ in own}
    added = [(int(one["id"]), str(one["content"])) for one in cutter.data["added_tokens"]]
    return sorted([*own, *((number, token) for number, token in added if number not in taken)])


def cut_tokenizer(tokenizer: Any, cutter: Cutter, kept: Set[str], config: PreTrainedConfig) -> tuple[Any, list[int]]:
    """A tokenizer of the kept tokens, and their old ids in the order of the new ones.

    kept: tokens by content; added tokens must be among them. It is opened as a saved folder is (`AutoTokenizer` with
    this config), so that it is what a saved student will have. Raises InputError when transformers builds another
    vocabulary from the file than stands in it.
    """
    rows = [number for number, token in tokens_by_id(cutter) if token in kept]
    new = {old: place for place, old in enumerate(rows)}
    with tempfile.TemporaryDirectory() as place, quiet():
        folder = Path(place)
        config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        for leftover in set(folder.iterdir()) - {
            folder / name for name in (FILE, "tokenizer_config.json", "config.json")
        }:
            if leftover.suffix in (".model", ".txt") or leftover.name in ("vocab.json", "added_tokens.json"):
                leftover.unlink()  # a vocabulary file of the old size, which some classes would read
        edited = json.dumps(edit(cutter, kept, new), ensure_ascii=False)
        (folder / FILE).write_text(edited, encoding="utf-8")
        smaller = AutoTokenizer.from_pretrained(folder)
    expected = {token: new[number] for number, token in tokens_by_id(cutter) if token in kept}
    if smaller.get_vocab() != expected or len(smaller) != len(rows):
        found = smaller.get_vocab()
        wrong = next((token for token in {*expected, *found} if expected.get(token) != found.get(token)), "")
        raise InputError(
            f"vocab: {type(tokenizer).__name__} puts {wrong!r} at {found.get(wrong)} and not at {expected.get(wrong)} "
            "when its tokenizer.json is cut (it numbers tokens by itself); such a tokenizer cannot be cut"
        )
    smaller.model_input_names = list(tokenizer.model_input_names)
    return smaller, rows


def edit(cutter: Cutter, kept: Set[str], new: Mapping[int, int]) -> dict[str, Any]:
    """The tokenizer.json of the kept tokens; new: old id to new id."""
    data = copy.deepcopy(dict(cutter.data))
    data["model"] = cutter.cut(kept)
    data["added_tokens"] = [{**one, "id": new[int(one["id"])]} for one in data["added_tokens"]]
    data["post_processor"] = _processor(data["post_processor"], new)
    if data.get("padding"):
        data["padding"]["pad_id"] = new[int(data["padding"]["pad_id"])]
    return data


def _unknown_processor(processor: Mapping[str, Any] | None) -> str:
    """The type of a post-processor whose ids are not known here; empty when all are."""
    if processor is None:
        return ""
    kind = str(processor["type"])
    if kind == "Sequence":
        return next(filter(None, map(_unknown_processor, processor["processors"])), "")
    known = ("TemplateProcessing", "BertProcessing", "RobertaProcessing", *_WITHOUT_IDS)
    return "" if kind in known else kind


def _processor(processor: Mapping[str, Any] | None, new: Mapping[int, int]) -> dict[str, Any] | None:
    """A post-processor with the ids of its special tokens renumbered."""
    if processor is None:
        return None
    kind = processor["type"]
    if kind == "Sequence":
        return {**processor, "processors": [_processor(one, new) for one in processor["processors"]]}
    if kind == "TemplateProcessing":
        special = {
            name: {**one, "ids": [new[number] for number in one["ids"]]}
            for name, one in processor["special_tokens"].items()
        }
        return {**processor, "special_tokens": special}
    if kind in ("BertProcessing", "RobertaProcessing"):
        ends = {name: [processor[name][0], new[processor[name][1]]] for name in ("sep", "cls")}
        return {**processor, **ends}
    return dict(processor)


def bound_ids(cutter: Cutter, tokenizer: Any) -> set[int]:
    """Ids that must stay whatever the texts are: added and special tokens, what the post-processor and padding add."""
    added = {int(one["id"]) for one in cutter.data["added_tokens"]}
    padding = cutter.data.get("padding")
    pad = {int(padding["pad_id"])} if padding else set()
    return added | pad | set(map(int, tokenizer.all_special_ids)) | _processor_ids(cutter.data["post_processor"])


def _processor_ids(processor: Mapping[str, Any] | None) -> set[int]:
    if processor is None:
        return set()
    if processor["type"] == "Sequence":
        return set().union(*map(_processor_ids, processor["processors"]))
    if processor["type"] == "TemplateProcessing":
        return {int(number) for one in processor["special_tokens"].values() for number in one["ids"]}
    return {int(processor[name][1]) for name in ("sep", "cls") if name in processor}
