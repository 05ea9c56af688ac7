"""A training small enough for tests that has what a real one has: dropout, a projection, masks drawn at random."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification

from compress.core.reporter import Reporter
from compress.train.batches import Batch, Feature, TrainData
from compress.train.checkpoint import weights_of
from compress.train.evaluate import collect
from compress.train.fit import FitResult, fit
from compress.train.options import TrainOptions

ROWS, DEV, VOCABULARY = 61, 20, 60
OPTIONS = TrainOptions(
    epochs=4,
    batch_size=8,
    learning_rate=1e-3,
    checkpoint_steps=3,
    checkpoint_minutes=0.0,
    precision="fp32",
    device="cpu",
)


class Objective(nn.Module):
    """A student and a projection that belongs to the loss only."""

    def __init__(self, student: nn.Module, width: int) -> None:
        super().__init__()
        self.student = student
        self.projection = nn.Linear(width, 8)


def objective(dropout: float = 0.1) -> Objective:
    """A one-layer BERT of width 16 with its projection, the same weights every time."""
    torch.manual_seed(5)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    return Objective(BertForSequenceClassification(config), 16)


def features(rows: int = ROWS) -> list[Feature]:
    """Rows of 2 to 12 tokens; the label says whether token 7 is there."""
    draw = random.Random(1)
    made = []
    for _ in range(rows):
        ids = [draw.randrange(2, VOCABULARY) for _ in range(draw.randint(2, 12))]
        label = draw.randint(0, 1)
        made.append(
            {"input_ids": [7, *ids] if label else [token for token in ids if token != 7] or [3], "labels": label}
        )
    return made


def collate(rows: list[Feature], generator: torch.Generator) -> Batch:
    """Padded to the longest; a tenth of the tokens is masked (id 1), as MLM does."""
    longest = max(len(row["input_ids"]) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    for place, row in enumerate(rows):
        ids[place, : len(row["input_ids"])] = torch.tensor(row["input_ids"])
    seen = (ids != 0).long()
    masked = torch.rand(ids.shape, generator=generator) < 0.1
    labels = torch.tensor([row["labels"] for row in rows])
    outputs = torch.ones(len(rows), dtype=torch.bool)
    return {
        "input_ids": ids.masked_fill(masked & (seen == 1), 1),
        "attention_mask": seen,
        "labels": labels,
        "outputs": outputs,
    }


def plain_collate(rows: list[Feature], generator: torch.Generator) -> Batch:
    """The same without masks, for evaluation."""
    batch = collate(rows, generator)
    for place, row in enumerate(rows):
        batch["input_ids"][place, : len(row["input_ids"])] = torch.tensor(row["input_ids"])
    return batch


def depth_of(name: str) -> int | None:
    """0 for the embeddings, 1 for the layer, None for the head and the projection."""
    return 0 if ".embeddings." in name else 1 if ".encoder.layer.0." in name else None


def loss(module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy and a pull of the projected hidden states towards one."""
    assert isinstance(module, Objective)
    output = module.student(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], output_hidden_states=True
    )
    hard = nn.functional.cross_entropy(output.logits, batch["labels"])
    pull = (module.projection(output.hidden_states[-1]) - 1).pow(2).mean()
    return hard + 0.1 * pull, {"hard_ce": hard, "pull": pull}


def train(work: Path, options: TrainOptions = OPTIONS, reporter: Reporter | None = None) -> tuple[FitResult, Objective]:
    """Fit the tiny objective with dev accuracy as the metric."""
    module = objective()
    everything = features(ROWS + DEV)
    rows, dev = everything[:ROWS], everything[ROWS:]

    def evaluate() -> dict[str, float]:
        logits, labels = collect(
            module.student, dev, plain_collate, lambda a, b, c: (a[c].float().numpy(), b[c].numpy()), batch_size=8
        )
        return {"accuracy": float((logits.argmax(1) == labels).mean())}

    data = TrainData(rows, collate, [len(row["input_ids"]) for row in rows])
    result = fit(
        module, data, loss, options, work=work, seed=11, reporter=reporter, evaluate=evaluate, metric="accuracy",
        depth_of=depth_of,
    )  # fmt: skip
    return result, module


def train_and_save(work: Path, out: Path, options: TrainOptions = OPTIONS) -> None:
    """`train`, and the final weights as a safetensors file that appears whole."""
    _, module = train(work, options)
    half = out.with_suffix(".half")
    save_file({name: value.contiguous() for name, value in weights_of(module).items()}, half)
    half.rename(out)
