"""The whole path on a GPU: teach, label, distil, factorize, prune, and a bench of what came out on CUDA."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from compress.core.environment import environment
from compress.pipeline.recipe import load_recipe
from compress.pipeline.run import run
from compress.report.render import make_report
from compress.runtime.student import Student

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]
BENCH = "{models: [$teacher, $outputs, $states], corpus: $corpus, batch_sizes: [1, 4], lengths: [8], seconds: 0.2, "
BENCH += (
    "processes: 2, device: cuda, engine: torch, probes: [latency, memory, size, quality, {throughput: {largest: 8}}]}"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smoke recipe of stored signals, its bench on CUDA."""
    recipe = load_recipe(ROOT / "configs" / "smoke" / "labelled-signals.yaml", [f"steps.speed.bench={BENCH}"])
    return run(recipe, tmp_path_factory.mktemp("runs") / "cuda").root


def test_every_cell_is_measured_on_the_device(made: Path) -> None:
    """Prevents a bench that says cuda and times the CPU, or that lets kernels run on after the clock has stopped."""
    told = json.loads((made / "speed" / "measures.json").read_text(encoding="utf-8"))
    assert [one["device"] for one in told["subjects"]] == ["cuda"] * 3
    for one in told["subjects"]:
        assert one["status"] == "ok", one
        for cell in one["latency"]:
            assert 0 < cell["device_p50"]["value"] <= cell["p50"]["value"] * 1.05, cell
        memory = one["memory"]["gpu"]
        assert 0 < memory["allocated"]["value"] <= memory["reserved"]["value"]
        assert one["quality"]["values"]["accuracy"]["value"] is not None


def test_the_report_of_a_gpu_is_whole(made: Path) -> None:
    """Prevents a report that only knows machines without a GPU."""
    pytest.importorskip("vl_convert")
    written = make_report(made)
    (name, *_) = environment()["gpu"][0].split(",")
    assert name in written["json"].read_text(encoding="utf-8")
    assert written["html"].is_file()


def test_a_student_of_the_gpu_answers_on_both_devices(made: Path) -> None:
    """Prevents weights that were saved from the GPU in a form that a CPU cannot read, and other answers there."""
    texts = ["the food was good", "not a good day but a fine night"]
    one, two = (Student.load(made / "outputs", engine="torch", device=device) for device in ("cpu", "cuda"))
    for a, b in zip(one.logits(texts), two.logits(texts), strict=True):
        assert a == pytest.approx(b, abs=1e-3)


@pytest.mark.parametrize("name", ["pruned-classify", "factorize"])
def test_structures_change_on_a_machine_with_a_gpu(name: str, tmp_path: Path) -> None:
    """Prevents masks, gradients and proofs that mix devices: criteria look at a model that trains on CUDA."""
    recipe = load_recipe(ROOT / "configs" / "smoke" / f"{name}.yaml")
    last = list(recipe.steps)[-2]
    assert (run(recipe, tmp_path / name, until=last).root / last / "manifest.json").is_file()
