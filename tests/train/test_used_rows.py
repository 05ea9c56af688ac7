"""Trainings that move only the rows of a word table that their texts use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification

from compress.core.reporter import Reporter
from compress.tasks.features import collator, encode_rows, lengths
from compress.train.batches import Batch, TrainData
from compress.train.fit import FitResult, fit
from compress.train.options import TrainOptions
from compress.train.used_rows import UsedRows, used_rows, used_tokens
from tests.runtime import tiny as models
from tests.tasks.tools import task
from tests.train import tiny

FEW = tiny.VOCABULARY // 3
USED = list(range(3, FEW))
PLAIN = TrainOptions(epochs=2, batch_size=8, learning_rate=1e-2, weight_decay=0.0, precision="fp32", device="cpu")


def features() -> list[dict[str, Any]]:
    """Rows whose ids are below a third of the vocabulary."""
    return [
        {**row, "input_ids": [3 + token % (FEW - 3) for token in row["input_ids"]]} for row in tiny.features(tiny.ROWS)
    ]


def trained(
    work: Path, options: TrainOptions = PLAIN, loss: Any = tiny.loss, rows: list[dict[str, Any]] | None = None
) -> tuple[FitResult, tiny.Objective]:
    """The tiny objective without dropout after a training on rows of few words."""
    module, rows = tiny.objective(dropout=0.0), rows or features()
    data = TrainData(rows, tiny.plain_collate, [len(row["input_ids"]) for row in rows])
    dev = tiny.collate(tiny.features(24), torch.Generator().manual_seed(0))  # ids that no training row has

    def evaluate() -> dict[str, float]:
        module.eval()
        with torch.no_grad():
            return {"gain": -float(tiny.loss(module, dev)[0])}

    result = fit(
        module, data, loss, options, work=work, seed=3, evaluate=evaluate, metric="gain", depth_of=tiny.depth_of
    )
    return result, module


def table_of(model: Any) -> Tensor:
    table: Tensor = model.get_input_embeddings().weight.detach()
    return table


@pytest.mark.parametrize(
    "changes", [{}, {"ema": 0.9}, {"accumulate": 2, "max_grad_norm": 0.01}, {"layer_decay": 0.5},
                {"gradient_checkpointing": True}],
)  # fmt: skip
def test_the_weights_are_those_of_a_whole_table(
    changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents a row that learns from another token's gradient, and an update that misses one."""
    options = PLAIN.model_copy(update=changes)
    thin, module = trained(tmp_path / "thin", options)
    monkeypatch.setattr("compress.train.fit.used_tokens", lambda data: None)
    whole, plain = trained(tmp_path / "whole", options)
    assert [one["loss"] for one in thin.history] == pytest.approx([one["loss"] for one in whole.history], rel=1e-5)
    assert [one["dev"] for one in thin.history] == [pytest.approx(one["dev"], rel=1e-5) for one in whole.history]
    for (name, mine), theirs in zip(module.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-5, msg=name)


def test_unused_rows_stay_and_the_rest_decays(tmp_path: Path) -> None:
    """Prevents rows that are written back to another place, and words that fade because the corpus lacks them."""
    before = table_of(tiny.objective(dropout=0.0).student)
    _, module = trained(tmp_path, PLAIN.model_copy(update={"weight_decay": 0.1}))
    after = table_of(module.student)
    others = [row for row in range(tiny.VOCABULARY) if row not in USED]
    assert torch.equal(after[others], before[others])
    assert (after[USED] != before[USED]).any(1).all()


def test_what_is_kept_of_a_table_is_small(tmp_path: Path) -> None:
    """Prevents a gradient, moments and checkpoints as large as the vocabulary, which is what this is for."""
    shapes = []

    def watched(module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        shapes.extend(list(value.shape) for name, value in module.named_parameters() if "word_embeddings" in name)
        shapes.extend(list(value.shape) for name, value in module.named_buffers() if len(value) == tiny.VOCABULARY)
        return tiny.loss(module, batch)

    trained(tmp_path, loss=watched)
    assert shapes and all(shape == [len(USED), 16] for shape in shapes)


def test_a_resumed_training_is_bit_equal(tmp_path: Path) -> None:
    """Prevents a checkpoint of the small table that is put into the large one."""
    options = PLAIN.model_copy(update={"checkpoint_steps": 3})
    _, whole = trained(tmp_path / "whole", options)
    calls = 0

    def broken(module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        nonlocal calls
        calls += 1
        if calls == 8:
            raise KeyboardInterrupt
        return tiny.loss(module, batch)

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "broken", options, broken)
    result, resumed = trained(tmp_path / "broken", options)
    assert result.resumed_from is not None
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_a_checkpoint_of_other_rows_is_not_taken_up(tmp_path: Path) -> None:
    """Prevents rows of one vocabulary that are read as those of another with as many."""
    options = PLAIN.model_copy(update={"checkpoint_steps": 3})

    def broken(module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        if any((tmp_path / "steps").glob("checkpoint-*")):
            raise KeyboardInterrupt
        return tiny.loss(module, batch)

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "steps", options, broken)
    others = [{**row, "input_ids": [FEW if token == 3 else token for token in row["input_ids"]]} for row in features()]
    result, _ = trained(tmp_path / "steps", options, rows=others)
    assert result.resumed_from is None


def test_the_model_is_as_it_was_also_after_a_failure() -> None:
    """Prevents a student that is saved with a table of another class or size."""
    model = BertForSequenceClassification(BertConfig(**SMALL))
    table = model.get_input_embeddings()
    whole = table.weight

    def fail() -> None:
        with used_rows(model, {3, 4}, "t", Reporter()):
            assert type(table) is UsedRows and table.weight.shape == (2, 16)
            table.weight.data.fill_(7.0)
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    assert type(table) is nn.Embedding and table.weight is whole and "place" not in vars(table)
    assert (whole[[3, 4]] == 7).all() and not (whole[[2, 5]] == 7).any()


SMALL: dict[str, Any] = {
    "vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
    "max_position_embeddings": 16,
}  # fmt: skip


def tied() -> Any:
    return BertForMaskedLM(BertConfig(**SMALL))


def frozen() -> Any:
    model = BertForSequenceClassification(BertConfig(**SMALL))
    model.get_input_embeddings().weight.requires_grad_(False)
    return model


def plain() -> Any:
    return BertForSequenceClassification(BertConfig(**SMALL))


@pytest.mark.parametrize(
    ("make", "tokens"), [(tied, {3}), (frozen, {3}), (plain, None), (plain, set(range(36)))],
    ids=["tied", "frozen", "unknown", "most"],
)  # fmt: skip
def test_tables_that_cannot_or_need_not_are_left_alone(make: Any, tokens: set[int] | None) -> None:
    """Prevents an output layer that loses its words, and a look at every token for nothing."""
    model = make()
    table = model.get_input_embeddings()
    with used_rows(model, tokens, "t", Reporter()):
        assert type(table) is nn.Embedding and len(table.weight) == 40


def test_padding_has_no_row() -> None:
    """Prevents a padding row that moves, where transformers keeps it still."""
    model = plain()
    with used_rows(model, {0, 3}, "t", Reporter()):
        assert model.get_input_embeddings().weight.shape == (1, 16)
        model(input_ids=torch.tensor([[3, 0, 0]])).logits.sum().backward()


@pytest.mark.parametrize("name", ["classify", "embed"])
def test_the_tokens_are_those_of_every_text(name: str, word_pieces: Any) -> None:
    """Prevents second texts whose words are not trained."""
    rows = [{"text": "a good film", "text_pair": "bad", "label": 0, "score": 0.5}]
    assert tokens_of(name, rows, word_pieces, text_pair="text_pair") == frozenset(
        word_pieces("a good film", "bad")["input_ids"]
    )


def test_no_tokens_are_told_where_a_task_draws_some(word_pieces: Any) -> None:
    """Prevents words drawn from the whole vocabulary that are never trained."""
    assert tokens_of("mask", [{"text": "a good film " * 4}] * 4, word_pieces) is None


def tokens_of(name: str, rows: list[dict[str, Any]], tokenizer: Any, **options: Any) -> frozenset[int] | None:
    one = task(name, **options)
    made = encode_rows(one, tokenizer, rows, 16)
    return used_tokens(TrainData(made, collator(one, tokenizer.pad_token_id), lengths(made)))


@pytest.fixture(scope="module")
def word_pieces() -> Any:
    """A tiny BERT tokenizer."""
    return models.word_piece()
