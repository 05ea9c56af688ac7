"""What augmentation methods ask a model: its mask token."""

from __future__ import annotations

from compress.core.errors import InputError
from compress.train.folder import load_model


class ModelProposer:
    """Answers for one model; `compress.corpora.augment.base.Proposer` says what."""

    def __init__(self, source: str) -> None:
        self.name = source
        self.tokenizer = load_model(source, "AutoModel").tokenizer

    @property
    def mask_token(self) -> str:
        """The text of the tokenizer's mask token. Raises InputError when it has none."""
        if self.tokenizer.mask_token is None:
            raise InputError(f"{self.name}: its tokenizer has no mask token; use `masked: drop`, or another model")
        return str(self.tokenizer.mask_token)
