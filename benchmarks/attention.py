"""Training steps on the CPU with attention in one piece, beside torch's scaled dot product attention.

    python -m benchmarks.attention [--rounds 12] [--threads 1]

Purpose: why `teach` and `distill` replace the attention of what they train on a CPU (`quick_attention`). A BERT of 6 x
384 with random weights, forward and backward in bf16 where the CPU has it, 1,024 tokens a batch in texts of one length
with padding, with dropout (a teacher) and without (a student). Both sides take turns in one process; a ratio is the
median over the rounds, its interval the quartiles. About 3 minutes on two cores that nothing else uses. Writes
results/attention.json.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import BertConfig, BertForSequenceClassification

from benchmarks.claims import claim
from benchmarks.record import record
from compress.train.bodies import quick_attention
from compress.train.place import arithmetic, keep_freed_memory, resolve_precision
from compress.train.quick_dropout import quick_dropout

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")
TOKENS = 1024
LENGTHS = (8, 13, 16, 32, 64, 128, 256)
DROPOUTS = (0.0, 0.1)
WARM = 2


def main() -> None:
    """Time every length, then record."""
    options = arguments()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    precision = resolve_precision("auto", CPU)
    rows = [row(tokens, dropout, precision, options.rounds) for dropout in DROPOUTS for tokens in LENGTHS]
    rows = [{**one, "threads": options.threads} for one in rows]
    for one in rows:
        print(one)
    found = [
        claim(f"dropout {one['dropout']}, {one['tokens']} tokens: faster than sdpa", one["faster"], ">= 1", "times",
              one["interval"])
        for one in rows
    ]  # fmt: skip
    print(record("attention", [0], rows, found).relative_to(ROOT))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def row(tokens: int, dropout: float, precision: str, rounds: int) -> dict[str, Any]:
    """Seconds of a step of both sides in turn, and how much faster ours is."""
    torch.manual_seed(0)
    config = BertConfig(
        num_hidden_layers=6, hidden_size=384, num_attention_heads=12, intermediate_size=1536,
        attention_probs_dropout_prob=dropout, hidden_dropout_prob=dropout, vocab_size=1000,
    )  # fmt: skip
    model = BertForSequenceClassification(config).train()
    ids = torch.randint(5, 1000, (TOKENS // tokens, tokens))
    mask = torch.ones_like(ids)
    mask[::2, -1] = 0
    theirs, ours = [], []
    for number in range(WARM + rounds):
        pair = {}
        for mine in (False, True) if number % 2 else (True, False):
            pair[mine] = step(model, ids, mask, precision, mine)
        if number >= WARM:
            theirs.append(pair[False])
            ours.append(pair[True])
    ratios = np.asarray(theirs) / np.asarray(ours)
    return {
        "tokens": tokens, "dropout": dropout, "precision": precision, "ms": round(1e3 * float(np.median(ours)), 2),
        "sdpa_ms": round(1e3 * float(np.median(theirs)), 2), "faster": float(np.median(ratios)),
        "interval": [float(np.quantile(ratios, share)) for share in (0.25, 0.75)],
    }  # fmt: skip


def step(model: BertForSequenceClassification, ids: Tensor, mask: Tensor, precision: str, mine: bool) -> float:
    """Seconds of one forward and backward pass; quick dropout on both sides, where it is not sdpa's own."""
    model.set_attn_implementation("sdpa")
    with quick_dropout(model), quick_attention(model, CPU if mine else torch.device("meta"), compiled=False):
        began = time.perf_counter()
        with arithmetic(precision, CPU):
            total = model(ids, attention_mask=mask).logits.float().square().sum()
        total.backward()
        return time.perf_counter() - began


if __name__ == "__main__":
    main()
