"""The moving average: its numbers, and that it is what dev judges and what is kept."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from compress.train.average import Average
from compress.train.batches import TrainData
from compress.train.checkpoint import weights_of
from compress.train.fit import fit
from compress.train.options import TrainOptions
from tests.train import tiny

OPTIONS = TrainOptions(**{**tiny.OPTIONS.dump(), "ema": 0.9, "checkpoint_steps": 0})


def _data() -> TrainData:
    made = tiny.features(40)
    return TrainData(made, tiny.collate, [len(row["input_ids"]) for row in made])


def test_its_numbers() -> None:
    """The decay is min(d, (1 + n) / (10 + n)): 2/11 after the first update, d in the long run."""
    module = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        module.weight.fill_(1.0)
        average = Average(module, 0.5)
        module.weight.fill_(3.0)
        average.update(1)
        first = 1.0 * 2 / 11 + 3.0 * 9 / 11
        assert float(average.weights["weight"]) == pytest.approx(first)
        module.weight.fill_(0.0)
        average.update(1000)
        assert float(average.weights["weight"]) == pytest.approx(first / 2)


def test_it_goes_in_and_out_without_a_trace() -> None:
    """Training that went on from averaged weights, or from rounded ones, would be another training."""
    module = tiny.objective()
    average = Average(module, 0.9)
    with torch.no_grad():
        module.projection.weight.add_(1.0)
    before, held = copy.deepcopy(weights_of(module)), copy.deepcopy(average.weights)
    with average.in_place():
        assert torch.equal(module.projection.weight, held["projection.weight"])
    assert all(torch.equal(value, before[name]) for name, value in weights_of(module).items())
    assert all(torch.equal(value, held[name]) for name, value in average.weights.items())


def _followed(work: Path, evaluated: bool) -> tuple[nn.Module, list[dict[str, Tensor]], list[dict[str, Tensor]]]:
    """A training whose average is computed again here: the module, the averages, and what `evaluate` saw."""
    averages: list[dict[str, Tensor]] = []
    seen: list[dict[str, Tensor]] = []
    module = tiny.objective()
    state = {name: value.detach().clone() for name, value in module.named_parameters()}
    real = torch.optim.AdamW.step

    def stepping(self: torch.optim.AdamW, *args: object, **kwargs: object) -> object:
        done = real(self, *args, **kwargs)  # type: ignore[arg-type]
        decay = min(0.9, (2 + len(averages)) / (11 + len(averages)))
        for name, value in module.named_parameters():
            state[name] = decay * state[name] + (1 - decay) * value.detach()
        averages.append(dict(state))
        return done

    def evaluate() -> dict[str, float]:
        seen.append(copy.deepcopy(weights_of(module)))
        return {"accuracy": [0.2, 0.8, 0.1][len(seen) - 1]}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", stepping)
        options = OPTIONS.model_copy(update={"epochs": 3.0})
        fit(
            module, _data(), tiny.loss, options, work=work, seed=1, evaluate=evaluate if evaluated else None,
            metric="accuracy" if evaluated else "",
        )  # fmt: skip
    return module, averages, seen


def test_dev_judges_the_average_and_the_best_average_is_kept(tmp_path: Path) -> None:
    """An average that is kept beside the model and never used."""
    module, averages, seen = _followed(tmp_path, evaluated=True)
    for index, step in enumerate((5, 10, 15)):
        for name, value in averages[step - 1].items():
            assert torch.allclose(seen[index][name], value, atol=1e-6), (step, name)
    best = weights_of(module)
    assert all(torch.equal(seen[1][name], best[name]) for name in best)


def test_without_dev_the_last_average_is_left(tmp_path: Path) -> None:
    """Without an evaluation the average would be thrown away at the end."""
    module, averages, _ = _followed(tmp_path, evaluated=False)
    assert all(torch.allclose(weights_of(module)[name], value, atol=1e-6) for name, value in averages[-1].items())
