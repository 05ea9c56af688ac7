"""fit: what it leaves in the module, when it stops, and that a broken run goes on as if nothing had happened."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from compress.core.errors import InputError, JobError
from compress.core.options import identity
from compress.core.reporter import Progress, Reporter
from compress.train.batches import Batch, EpochLoader, TrainData
from compress.train.bodies import quick_attention
from compress.train.checkpoint import weights_of
from compress.train.fit import FitResult, fit
from compress.train.options import TrainOptions
from compress.train.quick_dropout import quick_dropout
from compress.train.trainer import Job, Loop, evaluation_steps
from tests.train import tiny


def _with(**changes: object) -> TrainOptions:
    return TrainOptions(**{**tiny.OPTIONS.dump(), **changes})  # type: ignore[arg-type]


def _data(rows: int = 40) -> TrainData:
    made = tiny.features(rows)
    return TrainData(made, tiny.collate, [len(row["input_ids"]) for row in made])


def _same(one: nn.Module, other: nn.Module) -> bool:
    left, right = weights_of(one), weights_of(other)
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"accumulate": 3, "ema": 0.9},
        {"precision": "bf16"},
        {"patience": 2, "evaluate_per_epoch": 2, "ema": 0.8},
        {"layer_decay": 0.6, "schedule": "cosine", "gradient_checkpointing": True},
    ],
)
@pytest.mark.parametrize("at", [5, pytest.param(11, marks=pytest.mark.slow)])
def test_an_interrupted_run_ends_bit_equal(
    changes: dict[str, object], at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anything that a checkpoint forgets (a generator, a sum, the epoch's place, the best so far) shows here."""
    options = _with(**changes)
    whole, module = tiny.train(tmp_path / "whole", options)
    with monkeypatch.context() as patch:
        patch.setattr(tiny, "loss", _interrupting(tiny.loss, at))
        with pytest.raises(KeyboardInterrupt):
            tiny.train(tmp_path / "broken", options)
    torch.manual_seed(99)
    resumed, again = tiny.train(tmp_path / "broken", options)
    assert resumed.resumed_from is not None or at == 5
    assert _same(module, again)
    assert resumed.history == whole.history
    assert (resumed.best_step, resumed.best_metric, resumed.steps) == (whole.best_step, whole.best_metric, whole.steps)


def _interrupting(real: Callable[..., object], at: int) -> Callable[..., object]:
    calls = 0

    def replaced(module: nn.Module, batch: Batch) -> object:
        nonlocal calls
        calls += 1
        if calls == at:
            raise KeyboardInterrupt
        return real(module, batch)

    return replaced


def test_it_learns_and_leaves_the_best_weights(tmp_path: Path) -> None:
    """The last weights in place of the best ones, or a module left in training mode, are silent losses."""
    module = tiny.objective()
    kept: dict[float, dict[str, Tensor]] = {}
    metrics = iter([0.3, 0.9, 0.9, 0.4])

    def evaluate() -> dict[str, float]:
        value = next(metrics)
        kept.setdefault(value, copy.deepcopy(weights_of(module)))
        return {"accuracy": value, "other": 0.0}

    result = fit(
        module, _data(), tiny.loss, _with(epochs=4), work=tmp_path, seed=1, evaluate=evaluate, metric="accuracy"
    )
    assert (result.best_step, result.best_metric, result.steps, result.epochs) == (10, 0.9, 20, 4.0)
    assert all(torch.equal(value, kept[0.9][name]) for name, value in weights_of(module).items())
    assert not module.training
    looked = [entry for entry in result.history if entry["dev"]]
    assert [entry["step"] for entry in looked] == [5, 10, 15, 20]
    assert looked[0].keys() == {"step", "epoch", "loss", "terms", "lr", "dev"}
    assert looked[-1]["lr"] == 0.0
    json.dumps(result.measured(), allow_nan=False)


def test_the_loss_goes_down(tmp_path: Path) -> None:
    """A loop that does not train passes every other test."""
    module = tiny.objective()
    result = fit(module, _data(), tiny.loss, _with(epochs=12, learning_rate=1e-2), work=tmp_path, seed=1)
    assert result.history[-1]["loss"] < 0.7 * result.history[0]["loss"]
    assert result.best_step == result.steps and result.best_metric is None


def test_patience_stops(tmp_path: Path) -> None:
    """Without a stop, a model that gets worse goes on to the last epoch."""
    metrics = iter([0.9, 0.5, 0.4, 0.3, 0.2])
    result = fit(
        tiny.objective(),
        _data(),
        tiny.loss,
        _with(epochs=5, patience=2),
        work=tmp_path,
        seed=1,
        evaluate=lambda: {"accuracy": next(metrics)},
        metric="accuracy",
    )
    assert result.stopped_early and result.steps == 15 and result.best_step == 5


def test_a_dev_metric_of_nan_never_wins(tmp_path: Path) -> None:
    """NaN compares false with everything, so that a first NaN would stay the best for ever."""
    metrics = iter([math.nan, 0.4])
    result = fit(
        tiny.objective(),
        _data(),
        tiny.loss,
        _with(epochs=2),
        work=tmp_path,
        seed=1,
        evaluate=lambda: {"accuracy": next(metrics)},
        metric="accuracy",
    )
    assert result.best_metric == 0.4
    json.dumps(result.measured(), allow_nan=False)


def test_nan_stops_at_once_and_keeps_no_bad_weights(tmp_path: Path) -> None:
    """Trainer's own filter hides NaN from the logs while it goes into the weights and the checkpoints."""
    calls = 0

    def loss(module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        nonlocal calls
        calls += 1
        total, terms = tiny.loss(module, batch)
        return (total * math.nan, {**terms, "pull": terms["pull"] * math.nan}) if calls == 7 else (total, terms)

    module = tiny.objective()
    with pytest.raises(JobError, match=r"step 7: the loss \(term pull\) is nan"):
        fit(module, _data(), loss, _with(), work=tmp_path, seed=1)
    assert calls == 7
    assert all(bool(torch.isfinite(value).all()) for value in module.parameters())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-000000003", "checkpoint-000000006"]


def test_nan_in_the_middle_of_an_update_names_its_term(tmp_path: Path) -> None:
    """With batches accumulated, the third of six may go bad: the update must not come, and the term must be told."""
    calls = 0

    def loss(module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        nonlocal calls
        calls += 1
        total, terms = tiny.loss(module, batch)
        return (total * math.nan, {**terms, "hard_ce": terms["hard_ce"] * math.nan}) if calls == 5 else (total, terms)

    module = tiny.objective()
    with pytest.raises(JobError, match=r"step 2: the loss \(term hard_ce\) is nan"):
        fit(module, _data(64), loss, _with(accumulate=3, max_grad_norm=0.0), work=tmp_path, seed=1)
    assert all(bool(torch.isfinite(value).all()) for value in module.parameters())


def test_rows_weigh_the_same_in_whatever_batch_they_are(tmp_path: Path) -> None:
    """A short last batch, averaged like a full one, would let its few rows count several times over."""
    made = tiny.features(11)
    data = TrainData(made, tiny.plain_collate, [len(row["input_ids"]) for row in made])
    options = _with(batch_size=4, accumulate=3, epochs=1, max_grad_norm=0.0, warmup=0.0)
    seen: list[dict[str, Tensor]] = []
    real = torch.optim.AdamW.step

    def looking(self: torch.optim.AdamW, *args: object, **kwargs: object) -> object:
        seen.append({name: value.grad.clone() for name, value in module.named_parameters() if value.grad is not None})
        return real(self, *args, **kwargs)  # type: ignore[arg-type]

    module = tiny.objective(dropout=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", looking)
        fit(module, data, tiny.loss, options, work=tmp_path, seed=1)
    expected = tiny.objective(dropout=0.0)
    sum(_row_loss(expected, row) for row in made).div(11).backward()  # type: ignore[union-attr]
    mine = dict(expected.student.named_parameters())["classifier.weight"].grad
    assert mine is not None and torch.allclose(seen[0]["student.classifier.weight"], mine, atol=1e-6)


def _row_loss(module: tiny.Objective, row: dict[str, object]) -> Tensor:
    batch = tiny.plain_collate([row], torch.Generator())
    logits = module.student(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    return nn.functional.cross_entropy(logits, batch["labels"])


def test_gradients_are_cut_as_torch_cuts_them(tmp_path: Path) -> None:
    """The clip is folded into AdamW's kernel: were it lost, or applied twice, no error would say so."""
    for limit in (0.0, 1e-3):
        module = tiny.objective()
        options = _with(max_grad_norm=limit, epochs=0.2, warmup=0.0, weight_decay=0.0)
        fit(module, _data(), tiny.loss, options, work=tmp_path / str(limit), seed=1)
        expected = tiny.objective().train()
        _one_step(expected, limit, options.learning_rate, seed=1)
        pairs = zip(weights_of(expected).values(), weights_of(module).values(), strict=True)
        assert all(torch.allclose(a, b, atol=1e-7) for a, b in pairs)


def _one_step(module: nn.Module, limit: float, rate: float, seed: int) -> None:
    batch = next(iter(EpochLoader(_data(), 8, seed))).batch
    optimizer = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=0.0)
    torch.manual_seed(seed)
    with quick_dropout(module), quick_attention(module, torch.device("cpu"), compiled=False):
        loss, _ = tiny.loss(module, batch)
    loss.backward()
    if limit:
        torch.nn.utils.clip_grad_norm_(module.parameters(), limit)
    optimizer.step()


def test_biases_and_norms_do_not_decay(tmp_path: Path) -> None:
    """Decayed norms and biases cost accuracy and nothing tells."""
    job = Job(
        tiny.objective(),
        _data(),
        tiny.loss,
        _with(weight_decay=0.3),
        tmp_path,
        1,
        torch.device("cpu"),
        "fp32",
        "",
        None,
        "",
    )
    loop = Loop(job)
    groups = loop.create_optimizer().param_groups
    decayed = {id(value) for value in groups[0]["params"]}
    names = {name for name, value in job.module.named_parameters() if id(value) in decayed}
    assert groups[0]["weight_decay"] == 0.3 and groups[1]["weight_decay"] == 0.0
    assert "projection.weight" in names
    assert not [name for name in names if name.endswith("bias") or "LayerNorm" in name]


def test_frozen_parts_are_neither_moved_nor_stored(tmp_path: Path) -> None:
    """A frozen encoder that decays, or a teacher stored in every checkpoint."""
    module = tiny.objective()
    module.student.requires_grad_(False)
    before = copy.deepcopy(module.student.state_dict())
    fit(module, _data(), tiny.loss, _with(epochs=1), work=tmp_path, seed=1)
    assert all(torch.equal(value, before[name]) for name, value in module.student.state_dict().items())
    assert {name.split(".")[0] for name, value in weights_of(module).items() if value.is_floating_point()} == {
        "projection"
    }


class _Bars(Reporter):
    """Counts what the bar was told."""

    def __init__(self) -> None:
        self.total: float | None = None
        self.done = 0.0

    @contextmanager
    def progress(self, label: str, total: float | None) -> Iterator[Progress]:
        """This reporter is its own bar."""
        self.total = total
        yield self

    def advance(self, amount: float = 1, info: str = "") -> None:
        self.done += amount


def test_the_bar_reaches_its_end_and_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A bar that stays at 97 %, or the Trainer's own dictionaries on the screen."""
    bars = _Bars()
    capfd.readouterr()
    fit(tiny.objective(), _data(), tiny.loss, _with(epochs=2), work=tmp_path, seed=1, reporter=bars)
    assert (bars.total, bars.done) == (10, 10)
    captured = capfd.readouterr()
    assert captured.out == "" and captured.err == ""


def _bad(**changes: object) -> FitResult:
    arguments: dict[str, object] = {"data": _data(), "options": tiny.OPTIONS, "module": tiny.objective(), **changes}
    data, options, module = arguments["data"], arguments["options"], arguments["module"]
    assert isinstance(data, TrainData) and isinstance(options, TrainOptions) and isinstance(module, nn.Module)
    return fit(module, data, tiny.loss, options, work=Path("never"), seed=1)


def test_what_cannot_be_trained_is_refused() -> None:
    """Each would end in a traceback from deep inside, or in a training that does nothing."""
    with pytest.raises(InputError, match="no rows"):
        _bad(data=TrainData([], tiny.collate, []))
    with pytest.raises(InputError, match="frozen"):
        _bad(module=tiny.objective().requires_grad_(False))
    with pytest.raises(InputError, match="layer_decay: which layer"):
        _bad(options=_with(layer_decay=0.5))
    with pytest.raises(ValueError, match="exclude each other"):
        _with(compile=True, gradient_checkpointing=True)
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="no CUDA device"):
            _bad(options=_with(device="cuda"))


def test_the_learning_rate_follows_its_schedule(tmp_path: Path) -> None:
    """A schedule that is read and not used leaves every curve a line."""
    rates = {}
    for schedule in ("linear", "cosine", "constant"):
        options = _with(schedule=schedule, warmup=0.0, epochs=2, learning_rate=1e-3)
        result = fit(tiny.objective(), _data(), tiny.loss, options, work=tmp_path / schedule, seed=1)
        rates[schedule] = [round(entry["lr"] * 1e3, 4) for entry in result.history]
    assert rates["linear"] == [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0]
    assert rates["cosine"] == [round((1 + math.cos(math.pi * step / 10)) / 2, 4) for step in range(1, 11)]
    assert rates["constant"] == [1.0] * 10


def test_evaluations_are_spread_evenly_and_end_the_run() -> None:
    """A last look that is missed leaves the final weights unjudged."""
    assert evaluation_steps(20, 10, 1) == {10, 20}
    assert evaluation_steps(20, 10, 4) == {3, 5, 8, 10, 13, 15, 18, 20}
    assert evaluation_steps(13, 10, 1) == {10, 13}
    assert evaluation_steps(1, 1, 5) == {1}


def test_checkpoint_intervals_do_not_change_what_a_training_is() -> None:
    """A step must not run again because somebody wanted checkpoints more often."""
    assert identity(_with(checkpoint_minutes=1.0, checkpoint_steps=7)) == identity(_with())
    assert identity(_with(learning_rate=0.5)) != identity(_with())
