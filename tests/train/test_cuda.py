"""Training on a GPU: it learns, goes on after an interruption, and ends where the CPU does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from compress.train.batches import Batch
from compress.train.options import TrainOptions
from tests.train import tiny

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]


def _on_cuda(**changes: object) -> TrainOptions:
    return TrainOptions(**{**tiny.OPTIONS.dump(), "device": "cuda", **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("changes", [{}, {"accumulate": 3, "ema": 0.9}, {"gradient_checkpointing": True}])
def test_a_gpu_learns_what_the_cpu_learns(
    changes: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents batches, averages or optimizer states that stay behind on the CPU, or a step that does nothing."""
    made = tiny.objective
    monkeypatch.setattr(tiny, "objective", lambda: made(dropout=0.0))  # drawn from other generators on a GPU
    plain, _ = tiny.train(tmp_path / "cpu", _on_cuda(device="cpu", **changes))
    torch.cuda.init()
    torch.cuda.reset_peak_memory_stats()
    there, _ = tiny.train(tmp_path / "cuda", _on_cuda(**changes))
    assert torch.cuda.max_memory_allocated() > 0
    assert there.steps == plain.steps
    assert there.best_metric == pytest.approx(plain.best_metric, abs=0.101)  # two of the 20 rows of dev
    for mine, here in zip(plain.history, there.history, strict=True):
        assert (mine["step"], mine["lr"]) == (here["step"], here["lr"])
        assert mine["loss"] == pytest.approx(here["loss"], rel=5e-3)


def test_bf16_is_what_a_gpu_trains_in(tmp_path: Path) -> None:
    """Prevents a GPU that trains in float32 because nobody asked, or in bf16 without learning."""
    seen: list[torch.dtype] = []

    def watched(module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        seen.append(torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else torch.float32)
        return tiny_loss(module, batch)

    tiny_loss = tiny.loss
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "loss", watched)
        made, _ = tiny.train(tmp_path, _on_cuda(precision="auto"))
    wanted = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    assert set(seen) == {wanted}
    losses = [one["loss"] for one in made.history if "loss" in one]
    assert losses[-1] < losses[0] - 0.05  # 0.09 on a CPU in either arithmetic


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    """Prevents a checkpoint that forgets the generator of the GPU, from which dropout draws."""
    whole, _ = tiny.train(tmp_path / "whole", _on_cuda())
    calls = 0

    def broken(module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        nonlocal calls
        calls += 1
        if calls == 11:
            raise KeyboardInterrupt
        return tiny_loss(module, batch)

    tiny_loss = tiny.loss
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "loss", broken)
        with pytest.raises(KeyboardInterrupt):
            tiny.train(tmp_path / "broken", _on_cuda())
    torch.manual_seed(99)
    torch.cuda.manual_seed_all(99)
    resumed, _ = tiny.train(tmp_path / "broken", _on_cuda())
    assert resumed.resumed_from is not None
    assert resumed.steps == whole.steps
    assert [one.get("loss") for one in resumed.history] == pytest.approx(
        [one.get("loss") for one in whole.history], rel=1e-3
    )
