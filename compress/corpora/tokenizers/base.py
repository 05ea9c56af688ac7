"""What a trainable tokenizer is: a vocabulary learnt from text, wrapped as the fast tokenizer of its family."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema
from transformers import PreTrainedTokenizerBase

from compress.core.errors import InputError
from compress.core.options import Choice, Options, Ref
from compress.core.registry import Catalogue

LEAST_WORDS = 20


class TokenizerTraining(Options):
    """Base of every trainable tokenizer. The same texts and options give the same ids, in every process."""

    @abstractmethod
    def train(self, texts: Sequence[str], max_length: int) -> PreTrainedTokenizerBase:
        """Learn a vocabulary from `texts`. max_length: the longest input of the model in tokens.

        Raises InputError when the texts are too few, or the vocabulary is too small for their alphabet.
        """


TOKENIZERS: Catalogue[TokenizerTraining] = Catalogue("tokenizer", "tokenizers", ("compress.corpora.tokenizers",))


class TokenizerChoice(Choice):
    """A tokenizer that is trained (`byte_bpe`, `{wordpiece: {...}}`), or one that is there: `$step`, folder, name."""

    def __init__(self) -> None:
        super().__init__(TOKENIZERS)

    def parse(self, value: object) -> Any:
        """A training from `{name: {options}}` or a registered name; any other text as it is."""
        return value if isinstance(value, str) and value not in TOKENIZERS.names() else super().parse(value)

    @staticmethod
    def dump(value: Any) -> Any:
        """The form that a recipe uses."""
        return value if isinstance(value, str) else Choice.dump(value)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        there = {"type": "string", "x-reference": "Model"}
        return {"anyOf": [super().__get_pydantic_json_schema__(schema, handler), there]}


TokenizerSource = Annotated[TokenizerTraining | str, TokenizerChoice(), Ref("Model", outside=True)]


def count_words(texts: Sequence[str], split: Callable[[str], list[tuple[str, tuple[int, int]]]]) -> Counter[str]:
    """How often each word occurs after `split`. Raises InputError when there are too few words to learn from."""
    words: Counter[str] = Counter()
    for text in texts:
        words.update(word for word, _ in split(text))
    if len(words) < LEAST_WORDS:
        raise InputError(
            f"the corpus holds {len(words)} different words in {len(texts)} texts; a tokenizer needs at least "
            f"{LEAST_WORDS}: add text (an `unlabeled` split counts too) or start from a pretrained model"
        )
    return words


def check_size(size: int, needed: int, what: str) -> None:
    """Refuse a vocabulary that cannot hold its own alphabet: most words would become unknown."""
    if size < needed:
        raise InputError(
            f"a vocabulary of size {size} cannot hold {what}; raise the tokenizer's `size` to {needed} at the very "
            "least (thousands are usual)"
        )
