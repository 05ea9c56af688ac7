"""Made text, tiny tokenizers trained on it, and tiny models for them."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AlbertConfig,
    AutoTokenizer,
    BertConfig,
    CamembertConfig,
    GPT2Config,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    T5Config,
    XLMRobertaConfig,
)

from compress.importance.base import Evidence
from compress.prune.base import Job

BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
FAIRSEQ = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
SYLLABLES = ["ba", "ri", "to", "ne", "lu", "sha", "é", "ki", "mo", "za", "qua", "ing", "s", "un"]


def words(seed: int, count: int, longest: int = 4) -> list[str]:
    """Words of one to `longest` syllables, some with a capital, a figure or a sign."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        word = "".join(draw.choice(SYLLABLES) for _ in range(draw.randint(1, longest)))
        ends = draw.random()
        made.append(word.title() if ends < 0.1 else f"{word}!" if ends < 0.15 else f"{word}{ends:.2f}"[: len(word) + 4]
                    if ends < 0.2 else word)  # fmt: skip
    return made


def texts(seed: int, count: int, pairs: bool = False, known: int = 300) -> list[list[str]]:
    """Rows of one or two texts of up to nine words, drawn from `known` of them, the first ones more often."""
    draw, pool = random.Random(seed), words(seed, known)

    def text() -> str:
        return " ".join(pool[int(len(pool) * draw.random() ** 2)] for _ in range(draw.randint(1, 9)))

    return [[text(), text()] if pairs else [text()] for _ in range(count)]


def _wordpiece() -> Tokenizer:
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.train_from_iterator(_training(), trainers.WordPieceTrainer(vocab_size=400, special_tokens=BERT))
    made.decoder = decoders.WordPiece()
    ends = [(name, made.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    return made


def _byte_bpe(special: list[str], prefix: bool) -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    made.train_from_iterator(_training(), trainer)
    made.decoder = decoders.ByteLevel()
    return made


def _unigram(special: list[str], unknown: str) -> Tokenizer:
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    trainer = trainers.UnigramTrainer(vocab_size=350, special_tokens=special, unk_token=unknown)
    made.train_from_iterator(_training(), trainer)
    return made


def _training() -> list[str]:
    return [row[0] for seed in (1, 2, 3) for row in texts(seed, 400)]


def _roberta() -> Tokenizer:
    made = _byte_bpe(FAIRSEQ, prefix=False)
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return made


KINDS: dict[str, tuple[Callable[[], Tokenizer], type[PreTrainedConfig], str, dict[str, Any]]] = {
    "bert": (_wordpiece, BertConfig, "BertTokenizer", {}),
    "roberta": (_roberta, RobertaConfig, "RobertaTokenizer", {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}),
    "gpt2": (lambda: _byte_bpe(["<|endoftext|>"], prefix=False), GPT2Config, "GPT2Tokenizer",
             {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0}),
    "xlm-roberta": (lambda: _unigram(FAIRSEQ, "<unk>"), XLMRobertaConfig, "XLMRobertaTokenizer",
                    {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}),
    "camembert": (lambda: _unigram(["<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED", "<s>", "</s>",
                                    "<mask>"], "<unk>"),
                  CamembertConfig, "CamembertTokenizer", {"pad_token_id": 1, "bos_token_id": 5, "eos_token_id": 6}),
    "albert": (lambda: _unigram(["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"], "<unk>"), AlbertConfig,
               "AlbertTokenizer", {"embedding_size": 8, "pad_token_id": 0}),
    "t5": (lambda: _unigram(["<pad>", "</s>", "<unk>"], "<unk>"), T5Config, "T5Tokenizer",
           {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}),
}  # fmt: skip
_ROBERTAS = ("roberta", "camembert", "xlm-roberta")


def tokenizer(family: str, folder: Path) -> Any:
    """A tokenizer of the family's own class, opened from a folder as any checkpoint's is."""
    make, config, name, _ = KINDS[family]
    folder.mkdir(parents=True, exist_ok=True)
    made = make()
    special = {"gpt2": {"pad_token": "<|endoftext|>"}}.get(family, {})
    known = made.get_vocab()
    for role, names in {"unk": ("[UNK]", "<unk>"), "pad": ("[PAD]", "<pad>")}.items():
        special |= {f"{role}_token": token for token in names if token in known}
    PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=40, **special).save_pretrained(folder)
    text = (folder / "tokenizer_config.json").read_text(encoding="utf-8")
    text = text.replace("TokenizersBackend", name).replace("PreTrainedTokenizerFast", name)
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")
    config().save_pretrained(folder)
    found = AutoTokenizer.from_pretrained(folder)
    assert type(found).__name__ == name, type(found)
    return found


def model(family: str, rows: int, head: Any, **more: Any) -> PreTrainedModel:
    """A random model of the family with that many rows in its word embedding, in eval mode."""
    _, config, _, own = KINDS[family]
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    if family == "gpt2":
        shape = {"n_embd": 32, "n_layer": 2, "n_head": 4}
    if family == "t5":
        shape = {"d_model": 32, "num_layers": 2, "num_heads": 4, "d_ff": 48, "d_kv": 8}
    if family in _ROBERTAS:
        shape |= {"max_position_embeddings": 48, "type_vocab_size": 1}
    torch.manual_seed(0)
    made: PreTrainedModel = head.from_config(config(vocab_size=rows, **{**shape, **own, **more}))
    for parameter in made.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    return made.eval()


def job(made: PreTrainedModel, words_of: Any, rows: list[list[str]]) -> Job:
    """A pruner's job without a criterion, which `vocab` does not ask."""
    return Job(made, words_of, None, Evidence(), texts=lambda: rows)  # type: ignore[arg-type]
