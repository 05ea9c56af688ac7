"""A teacher from nothing but the corpus: its own vocabulary, random weights, and a warm-up by masked words."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from compress.core.errors import Fault
from compress.core.options import Choice
from compress.corpora.running_text import corpus_texts
from compress.corpora.tokenizers.base import TOKENIZERS, TokenizerTraining
from teachers.families.base import FAMILIES, Family, Shape
from teachers.families.bert import Bert
from teachers.heads import with_head
from teachers.origins.base import ORIGINS, Need, Origin, Start
from teachers.warm_up import WarmUp, warmed_body


@ORIGINS.register("scratch")
class Scratch(Origin):
    """A new model of any shape over a vocabulary learnt from the corpus; needs no checkpoint and no network."""

    family: Annotated[Family, Choice(FAMILIES)] = Field(Bert(), description="architecture")
    layers: int = Field(4, ge=1, le=96, description="transformer layers")
    width: int = Field(256, ge=8, le=8192, description="width of the hidden states; a multiple of heads")
    heads: int = Field(4, ge=1, le=128, description="attention heads")
    ffn: int | None = Field(None, ge=8, description="inner width of the feed-forward part; null: 4 x width")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout of hidden states and attention")
    tokenizer: Annotated[TokenizerTraining, Choice(TOKENIZERS)] | None = Field(
        None, description="how the vocabulary is learnt from train and unlabeled text; null: as the family does"
    )
    warmup: WarmUp | None = Field(None, description="masked-word training of the body before the task; null: none")

    @model_validator(mode="after")
    def _heads_fit(self) -> Scratch:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} cannot be divided among {self.heads} heads; choose a multiple")
        return self

    def preflight(self, max_length: int) -> list[Fault]:
        """Trackers of the warm-up that are not installed."""
        found = self.warmup.tracker_faults() if self.warmup is not None else []
        return [Fault(f"warmup.{fault.path}", fault.message) for fault in found]

    def start(self, need: Need) -> Start:
        """Learn a vocabulary, draw weights, and warm the body up when asked."""
        texts = corpus_texts(need.corpus)
        training = self.tokenizer or TOKENIZERS.get(self.family.tokenizer)()
        with need.reporter.progress("vocabulary", None):
            tokenizer = training.train(texts, need.max_length)
        tokenizer.model_input_names = list(self.family.inputs)  # a DistilBERT reads no token types
        config = self.family.config(self._shape(need.max_length), tokenizer)
        model = with_head(config, need)
        facts = {"scratch": self.dump(), "tokenizer": training.registered_name, "vocabulary": len(tokenizer)}
        if self.warmup is None:
            return Start(model, tokenizer, facts)
        measured = warmed_body(model, tokenizer, texts, self.warmup, need)
        return Start(model, tokenizer, facts, {"warmup": measured})

    def _shape(self, max_length: int) -> Shape:
        ffn = 4 * self.width if self.ffn is None else self.ffn
        return Shape(self.layers, self.width, self.heads, ffn, self.dropout, max_length)
