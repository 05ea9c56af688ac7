"""What augmentation methods ask a model: its mask token, masked words, neighbours in its input embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from compress.core.errors import InputError
from compress.corpora.augment.base import Words
from compress.corpora.augment.vectors import WordVectors
from compress.corpora.augment.wordforms import parts
from compress.train.folder import load_model
from compress.train.place import arithmetic, resolve_device, resolve_precision

LEAD = "the"  # a word before the one that is looked at, since many vocabularies tell the first word from the others
_BATCH = 64


class ModelProposer:
    """Answers for one model; `compress.corpora.augment.base.Proposer` says what each answer is.

    fills: whether a masked-LM head is wanted; without one the body is enough. Raises InputError for a model that has
    no trained head, or no mask token.
    """

    def __init__(self, source: str, *, fills: bool = False) -> None:
        self.name = source
        loaded = load_model(source, "AutoModelForMaskedLM" if fills else "AutoModel")
        untrained = [name for name in loaded.missing if "pooler." not in name]
        if fills and untrained:
            raise InputError(
                f"{source}: has no trained masked-LM head ({', '.join(untrained[:3])} would be random); give a model "
                f"that was trained on masked text (a `teach` step on a `mask` corpus makes one), or use `neighbours`"
            )
        self.model, self.tokenizer, self.max_length = loaded.model, loaded.tokenizer, loaded.max_length
        self.device = resolve_device("auto")
        self.precision = resolve_precision("auto", self.device)
        nn.Module.to(self.model, self.device)
        self._single: dict[str, bool] = {}
        self._lead = len(self._pieces([LEAD])[0])
        self._whole = self._whole_words()

    @property
    def mask_token(self) -> str:
        """The text of the tokenizer's mask token. Raises InputError when it has none."""
        if self.tokenizer.mask_token is None:
            raise InputError(f"{self.name}: its tokenizer has no mask token; use another model, or `masked: drop`")
        return str(self.tokenizer.mask_token)

    def single(self, word: str) -> bool:
        """Whether a word is one token of the model."""
        if word not in self._single:
            pieces = self._pieces([f"{LEAD} {word}"])[0][self._lead :]
            self._single[word] = len(pieces) == 1 and pieces[0] != self.tokenizer.unk_token_id
        return self._single[word]

    def neighbours(self, words: Sequence[str], count: int) -> list[Words]:
        """Whole words of the vocabulary, nearest first; a word of several tokens is the mean of theirs."""
        table = cast(Tensor, self.model.get_input_embeddings().weight).detach().float().cpu().numpy()
        rows = np.array(list(self._whole))
        vectors = WordVectors(list(self._whole.values()), table[rows])
        pieces = [ids[self._lead :] for ids in self._pieces([f"{LEAD} {word}" for word in words])]
        known = [bool(ids) and self.tokenizer.unk_token_id not in ids for ids in pieces]
        queries = [
            vectors.centred(table[ids].mean(0)) if sure else None for ids, sure in zip(pieces, known, strict=True)
        ]
        return vectors.nearest(words, queries, count)

    def fills(self, texts: Sequence[Words], places: Sequence[Sequence[int]], count: int) -> list[list[Words]]:
        """Whole words, likeliest first; none where `max_length` cuts the place away."""
        asked = [(row, at) for row, chosen in enumerate(places) for at in chosen]
        if not asked:
            return [[] for _ in texts]
        masked = [_masked(texts[row], at, self.mask_token) for row, at in asked]
        encoded = self.tokenizer(masked, truncation=True, max_length=self.max_length, padding=False)
        order = sorted(range(len(masked)), key=lambda n: len(encoded["input_ids"][n]))
        said: dict[int, Words] = {}
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            tops = self._top({name: [encoded[name][n] for n in batch] for name in encoded}, count + 1)
            for n, top in zip(batch, tops, strict=True):
                old = parts(texts[asked[n][0]][asked[n][1]])[1].casefold()
                said[n] = [word for word in top if word.casefold() != old][:count]
        found: list[list[Words]] = [[] for _ in texts]
        for n, (row, _) in enumerate(asked):
            found[row].append(said[n])
        return found

    def _top(self, columns: dict[str, Any], count: int) -> list[Words]:
        """The likeliest whole words at the mask token of each row."""
        inputs = self.tokenizer.pad(columns, return_tensors="pt").to(self.device)
        at = inputs["input_ids"] == self.tokenizer.mask_token_id
        place = at.long().argmax(1)

        def only(module: nn.Module, given: Any, output: Any) -> Any:
            # The vocabulary's head costs more than a small body: it is run at the masked place alone.
            states = output.last_hidden_state
            output.last_hidden_state = states[torch.arange(len(states), device=states.device), place].unsqueeze(1)
            return output

        hook = self.model.base_model.register_forward_hook(only)
        try:
            with torch.inference_mode(), arithmetic(self.precision, self.device):
                logits = self.model(**inputs).logits[:, 0].float()
        finally:
            hook.remove()
        whole = torch.tensor(list(self._whole), device=logits.device)
        best = logits[:, whole].topk(min(count, len(whole)), dim=-1).indices.tolist()
        words = list(self._whole.values())
        return [[words[n] for n in row] if found else [] for row, found in zip(best, at.any(1).tolist(), strict=True)]

    def _pieces(self, texts: list[str]) -> list[list[int]]:
        if not texts:  # which the tokenizer does not take
            return []
        ids: list[list[int]] = self.tokenizer(texts, add_special_tokens=False, padding=False)["input_ids"]
        return ids

    def _whole_words(self) -> dict[int, str]:
        """Token to text, for every token that is a whole word of letters where a text has spaces around it."""
        special = set(self.tokenizer.all_special_ids)
        texts = {
            number: text
            for token, number in sorted(self.tokenizer.get_vocab().items(), key=lambda item: item[1])
            if number not in special and (text := self.tokenizer.convert_tokens_to_string([token]).strip()).isalpha()
        }
        pieces = self._pieces([f"{LEAD} {text}" for text in texts.values()])
        return {
            number: text
            for (number, text), ids in zip(texts.items(), pieces, strict=True)
            if ids[self._lead :] == [number]
        }


def _masked(words: Words, at: int, mask: str) -> str:
    before, _, after = parts(words[at])
    return " ".join([*words[:at], f"{before}{mask}{after}", *words[at + 1 :]])
