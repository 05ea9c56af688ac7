"""One side of `distill_speed` in a process of its own: the same rows, start and losses under one trainer.

    python -m benchmarks.distill_drivers '{"trainer": "textbrewer", ...}'

Prints one JSON line: `{"seconds", "rows", "peak_mb", "accuracy"}`. seconds: of the training loop alone, models loaded
and texts tokenised. peak_mb: the largest resident set of the process (MB). accuracy: on dev, in per cent, after it.

`textbrewer` drives TextBrewer's GeneralDistiller as its examples do; `trainer` is the plain `transformers.Trainer`
whose `compute_loss` runs the teacher; `stillroom` runs a recipe's `distill` step. All get the same four hidden terms
and the softened cross-entropy.
"""

from __future__ import annotations

import json
import math
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    Trainer,
    TrainingArguments,
    get_linear_schedule_with_warmup,
)

TEMPERATURE = 2.0
PAIRS = ((0, 0), (1, 2), (2, 4), (3, 6))
WARMUP = 0.1


def main() -> None:
    """Train and tell."""
    asked = json.loads(sys.argv[1])
    torch.set_num_threads(asked["threads"])
    torch.manual_seed(asked["seed"])
    found = {"textbrewer": textbrewer, "trainer": plain_trainer, "stillroom": stillroom}[asked["trainer"]](asked)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(json.dumps({"rows": asked["rows"], "peak_mb": peak, **found}))


class Work:
    """Models, token ids and batches that both trainers share."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self.asked = asked
        self.tokenizer = AutoTokenizer.from_pretrained(asked["teacher"])
        self.teacher = AutoModelForSequenceClassification.from_pretrained(asked["teacher"]).eval()
        self.student = AutoModelForSequenceClassification.from_pretrained(asked["student"])
        train, self.dev = read(asked["data"], "train"), read(asked["data"], "dev")
        chosen = torch.randperm(len(train), generator=torch.Generator().manual_seed(asked["seed"]))[: asked["rows"]]
        self.rows = [train[int(index)] for index in chosen]

    def loader(self) -> Any:
        """Random batches, padded to the longest row, or to 128 tokens when the work says so."""
        encoded = self.tokenizer([row["text"] for row in self.rows], truncation=True, max_length=128)["input_ids"]
        return torch.utils.data.DataLoader(encoded, self.asked["batch"], shuffle=True, collate_fn=self.batch)

    def batch(self, rows: list[list[int]]) -> dict[str, Tensor]:
        """Ids `[b, s]` and mask `[b, s]`."""
        padding = {"padding": "max_length", "max_length": 128} if self.asked["pad"] == 128 else {"padding": "longest"}
        made = self.tokenizer.pad({"input_ids": rows}, return_tensors="pt", **padding)
        return {"input_ids": made["input_ids"], "attention_mask": made["attention_mask"]}

    def accuracy(self) -> float:
        """Dev accuracy of the student, in per cent."""
        self.student.eval()
        right = 0
        with torch.inference_mode():
            for start in range(0, len(self.dev), 64):
                rows = self.dev[start : start + 64]
                ids = self.tokenizer([row["text"] for row in rows], truncation=True, max_length=128)["input_ids"]
                made = self.tokenizer.pad({"input_ids": ids}, return_tensors="pt")
                said = self.student(made["input_ids"], attention_mask=made["attention_mask"]).logits.argmax(-1)
                names = [self.teacher.config.id2label[int(one)] for one in said]
                right += sum(name == row["name"] for name, row in zip(names, rows, strict=True))
        return 100 * right / len(self.dev)


def read(data: str, split: str) -> list[dict[str, str]]:
    """Texts with the names of their labels."""
    lines = (Path(data) / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    names = {"0": "negative", "1": "positive", "negative": "negative", "positive": "positive"}
    rows = [json.loads(line) for line in lines]
    return [{"text": row["text"], "name": names[str(row["label"])]} for row in rows]


def textbrewer(asked: dict[str, Any]) -> dict[str, Any]:
    """GeneralDistiller with one intermediate match for each pair, AdamW and a linear schedule."""
    sys.path.insert(0, asked["textbrewer"])
    from textbrewer import DistillationConfig, GeneralDistiller, TrainingConfig

    work = Work(asked)

    def adaptor(batch: dict[str, Tensor], outputs: Any) -> dict[str, Any]:
        return {"logits": outputs.logits, "hidden": outputs.hidden_states, "inputs_mask": batch["attention_mask"]}

    matches = [
        {"layer_T": theirs, "layer_S": mine, "feature": "hidden", "loss": "hidden_mse", "weight": 1}
        for mine, theirs in PAIRS
    ]
    distiller = GeneralDistiller(
        TrainingConfig(output_dir=asked["scratch"], log_dir=None, device="cpu", ckpt_frequency=0, ckpt_steps=10**9),
        DistillationConfig(temperature=TEMPERATURE, kd_loss_type="ce", intermediate_matches=matches),
        work.teacher, work.student, adaptor, adaptor,
    )  # fmt: skip
    loader = work.loader()
    steps = len(loader)
    optimizer = torch.optim.AdamW(work.student.parameters(), lr=asked["learning_rate"])
    schedule = {"num_warmup_steps": math.ceil(WARMUP * steps), "num_training_steps": steps}

    def train() -> None:
        with distiller:
            distiller.train(
                optimizer, loader, num_epochs=1, scheduler_class=get_linear_schedule_with_warmup,
                scheduler_args=schedule, max_grad_norm=1.0, output_hidden_states=True,
            )  # fmt: skip

    return {"seconds": timed(train), "accuracy": work.accuracy()}


class TeacherInTheLoss(Trainer):
    """The recipe of many tutorials: a `compute_loss` that runs the teacher beside the student."""

    teacher: Any

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
        """Softened cross-entropy and the mean squared error of four hidden states over real tokens."""
        with torch.no_grad():
            theirs = self.teacher(**inputs, output_hidden_states=True)
        mine = model(**inputs, output_hidden_states=True)
        target = functional.softmax(theirs.logits / TEMPERATURE, -1)
        loss = -(target * functional.log_softmax(mine.logits / TEMPERATURE, -1)).sum(-1).mean()
        mask = inputs["attention_mask"].bool()
        for one, two in PAIRS:
            loss = loss + functional.mse_loss(mine.hidden_states[one][mask], theirs.hidden_states[two][mask])
        return (loss, mine) if return_outputs else loss


def plain_trainer(asked: dict[str, Any]) -> dict[str, Any]:
    """Its defaults: float32, random batches padded to the longest."""
    work = Work(asked)
    rows = work.tokenizer([row["text"] for row in work.rows], truncation=True, max_length=128)["input_ids"]
    arguments = TrainingArguments(
        output_dir=asked["scratch"], num_train_epochs=1, per_device_train_batch_size=asked["batch"],
        learning_rate=asked["learning_rate"], warmup_steps=WARMUP, lr_scheduler_type="linear", use_cpu=True,
        save_strategy="no", eval_strategy="no", report_to="none", remove_unused_columns=False, disable_tqdm=True,
        seed=asked["seed"],
    )  # fmt: skip
    loop = TeacherInTheLoss(work.student, arguments, train_dataset=Rows(rows), data_collator=work.batch)
    loop.teacher = work.teacher
    return {"seconds": timed(loop.train), "accuracy": work.accuracy()}


RECIPE = """
seed: {seed}
steps:
  corpus:
    prepare:
      source: {{jsonl: {{path: {data}}}}}
      task: {{classify: {{text: text, label: label}}}}
      labels: [negative, positive]
      limit: {{train: {rows}}}
  student:
    distill:
      corpus: $corpus
      teacher: {teacher}
      teacher_mode: {mode}
      student: {{distilbert: {{layers: half}}}}
      losses: [{{logits_kl: {{temperature: 2}}}}, {{hidden_mse: {{map: uniform}}}}]
      epochs: 1
      batch_size: {batch}
      learning_rate: {learning_rate}
      max_length: 128
"""


def stillroom(asked: dict[str, Any]) -> dict[str, Any]:
    """A recipe with the same terms; its stored signals are made in the same process and their time counts."""
    from compress.pipeline.recipe import parse_recipe
    from compress.pipeline.run import run

    out = Path(asked["scratch"]) / "run"  # with no sibling that has the same steps or signals, which would be taken
    run(parse_recipe(RECIPE.format(**asked)), out)
    measured = json.loads((out / "student" / "manifest.json").read_text(encoding="utf-8"))["measured"]
    return {
        "seconds": asked["rows"] / measured["examples_per_second"],
        "accuracy": 100 * measured["dev"]["accuracy"],
        "precision": measured["precision"],
        "labelling_seconds": measured["teacher_mode"].get("labelling_seconds", 0.0),
    }


class Rows(torch.utils.data.Dataset[list[int]]):
    """Token ids as a dataset."""

    def __init__(self, rows: list[list[int]]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> list[int]:
        return self.rows[index]

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.rows)


def timed(act: Callable[[], Any]) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
