"""Trainings in several processes that are connected as torchrun connects them. Functions are run in clean children."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from compress.core.artifact import write_json
from compress.core.errors import StillroomError
from compress.core.trace import Trace
from compress.losses.margin_mse import MarginMSE
from compress.train.checkpoint import weights_of
from compress.train.fit import fit
from compress.train.options import TrainOptions
from tests.train import tiny

# One server imports torch and forks clean children of it.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["compress.train.fit", "transformers.models.bert.modeling_bert"])
LIMIT = 60.0  # seconds after which a child is taken for hung


def start(world: int, target: Callable[..., None], *given: Any) -> list[BaseProcess]:
    """One process for each rank, running `target(rank, *given)`."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    processes = [SERVER.Process(target=_child, args=(rank, world, port, target, given)) for rank in range(world)]
    for process in processes:
        process.start()
    return processes


def finish(processes: list[BaseProcess]) -> list[int | None]:
    """Exit codes; what still runs after the limit is killed."""
    for process in processes:
        process.join(LIMIT)
        process.kill()
    return [process.exitcode for process in processes]


def _child(rank: int, world: int, port: int, target: Callable[..., None], given: tuple[Any, ...]) -> None:
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), LOCAL_WORLD_SIZE=str(world))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    target(rank, *given)


def row_loss(module: torch.nn.Module, batch: tiny.Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Means over rows: what two halves of a batch have in common with the whole, whatever their padding."""
    assert isinstance(module, tiny.Objective)
    output = module.student(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], output_hidden_states=True
    )
    hard = torch.nn.functional.cross_entropy(output.logits, batch["labels"])
    pull = (module.projection(output.hidden_states[-1][:, 0]) - 1).pow(2).mean()
    return hard + 0.1 * pull, {"hard_ce": hard, "pull": pull}


def plain_training(rank: int, folder: str, rows: int, changes: dict[str, Any]) -> None:
    """Fit the tiny objective without anything random; writes `weights-RANK` and `told-RANK.json`."""
    module = tiny.objective(dropout=0.0)
    made = tiny.features(rows)
    data = tiny.TrainData(made, tiny.plain_collate, [len(row["input_ids"]) for row in made])
    options = TrainOptions(**{**tiny.OPTIONS.dump(), **changes})
    result = fit(module, data, row_loss, options, work=Path(folder) / "work", seed=3, depth_of=tiny.depth_of)
    _leave(Path(folder), rank, module, result.measured())


def margin_loss(module: torch.nn.Module, batch: tiny.Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Margins between the rows of a group, towards those of their lengths."""
    assert isinstance(module, tiny.Objective)
    mask = batch["attention_mask"].bool()
    said = module.student(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :1]
    student = Trace(mask=mask, logits=said, groups=batch["groups"])
    term = MarginMSE()(student, replace(student, logits=mask.sum(1, keepdim=True) / 4))
    return term, {"margin_mse": term}


def grouped_training(rank: int, folder: str, rows: int, changes: dict[str, Any], loss: Any = margin_loss) -> None:
    """Fit the tiny objective to margins inside groups of four rows; writes as `plain_training`."""
    module = tiny.objective(dropout=0.0)
    made = [{**row, "group": place % -(-rows // 4)} for place, row in enumerate(tiny.features(rows))]

    def collate(chosen: list[tiny.Feature], generator: torch.Generator) -> tiny.Batch:
        groups = torch.tensor([row["group"] for row in chosen])
        return {**tiny.plain_collate(chosen, generator), "groups": groups}

    lengths, groups = [len(row["input_ids"]) for row in made], [str(row["group"]) for row in made]
    data = tiny.TrainData(made, collate, lengths, groups=groups)
    options = TrainOptions(**{**tiny.OPTIONS.dump(), **changes})
    result = fit(module, data, loss, options, work=Path(folder) / "work", seed=3)
    _leave(Path(folder), rank, module, result.measured())


def whole_training(rank: int, folder: str, changes: dict[str, Any], dies: tuple[int, int] | None) -> None:
    """`tiny.train`; `dies` is the rank that is killed and the forward pass in which it is. Errors are written down."""
    calls = 0
    real = tiny.loss

    def loss(module: torch.nn.Module, batch: tiny.Batch) -> Any:
        nonlocal calls
        calls += 1
        if dies == (rank, calls):
            os.kill(os.getpid(), signal.SIGKILL)
        return real(module, batch)

    tiny.loss = loss
    try:
        result, module = tiny.train(Path(folder) / "work", TrainOptions(**{**tiny.OPTIONS.dump(), **changes}))
    except StillroomError as error:
        write_json(Path(folder) / f"error-{rank}.json", {"error": str(error)})
        raise SystemExit(error.exit_code) from error
    _leave(Path(folder), rank, module, result.measured())


def nan_training(rank: int, folder: str, changes: dict[str, Any], bad: tuple[int, int]) -> None:
    """A training in which the loss of one rank is NaN in one forward pass; writes the error's text."""
    calls = 0
    real = tiny.loss

    def loss(module: torch.nn.Module, batch: tiny.Batch) -> Any:
        nonlocal calls
        calls += 1
        total, terms = real(module, batch)
        return (total * float("nan"), {**terms, "pull": terms["pull"] * float("nan")}) if bad == (rank, calls) else (
            total, terms)  # fmt: skip

    tiny.loss = loss
    try:
        tiny.train(Path(folder) / "work", TrainOptions(**{**tiny.OPTIONS.dump(), **changes}))
    except StillroomError as error:
        write_json(Path(folder) / f"told-{rank}.json", {"error": str(error)})


def _leave(folder: Path, rank: int, module: torch.nn.Module, told: dict[str, Any]) -> None:
    save_file({name: value.contiguous() for name, value in weights_of(module).items()}, folder / f"weights-{rank}")
    write_json(folder / f"told-{rank}.json", told)
