"""A recipe under torchrun: two processes train, one writes; one killed ends the job, which goes on when run again."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from compress.core.artifact import verify

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 240.0  # seconds after which a job is taken for hung
WORDS = "red blue tree stone river walk sing old new warm cold house bird road rain moon sand wind leaf fish"
RECIPE = """\
name: pair
seed: 3
steps:
  corpus:
    prepare: {{source: {{jsonl: {{path: {data}}}}}, task: {{classify: {{text: text, label: label}}}}}}
  teacher:
    teach:
      corpus: $corpus
      model: {{scratch: {{layers: 1, width: 32, heads: 2, dropout: 0.0, tokenizer: {{wordpiece: {{size: 200}}}}}}}}
      epochs: 12
      batch_size: 8
      learning_rate: 1.0e-2
      max_length: 16
      precision: fp32
      device: cpu
      checkpoint_steps: 2
  student:
    distill:
      corpus: $corpus
      teacher: $teacher
      student: {{distilbert: {{layers: 1, map: first}}}}
      losses: [logits_kl, {{hidden_mse: {{map: last}}}}]
      epochs: {epochs}
      batch_size: 8
      precision: fp32
      device: cpu
      ema: 0.9
      checkpoint_steps: 2
"""


def _recipe(folder: Path, epochs: int) -> Path:
    draw = random.Random(5)
    words = WORDS.split()
    data = folder / "data"
    data.mkdir(parents=True)
    for split, count in (("train", 90), ("dev", 30)):
        rows = []
        for _ in range(count):
            label = draw.randint(0, 1)
            text = " ".join([*draw.choices(words, k=draw.randint(2, 8)), ("bad", "good")[label]])
            rows.append(json.dumps({"text": text, "label": label}))
        (data / f"{split}.jsonl").write_text("\n".join(rows) + "\n")
    recipe = folder / "pair.yaml"
    recipe.write_text(RECIPE.format(data=data, epochs=epochs))
    return recipe


def _start(recipe: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    command += ["-m", "compress", "run", str(recipe), "--out", str(out), "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=recipe.parent, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def _measured(out: Path, step: str) -> dict[str, Any]:
    measured: dict[str, Any] = verify(out / step)["measured"]
    return measured


@pytest.mark.slow
def test_a_recipe_by_two_processes(tmp_path: Path) -> None:
    """Both that write, both that speak, or a leader that trains while the other waits at another step."""
    recipe, out = _recipe(tmp_path, epochs=2), tmp_path / "runs" / "pair"
    job = _start(recipe, out)
    said, told = job.communicate(timeout=LIMIT)
    assert job.returncode == 0, told
    assert list(json.loads(said)["models"]) == ["teacher", "student"]
    for step in ("teacher", "student"):
        measured = _measured(out, step)
        assert measured["processes"] == 2
        assert measured["steps"] == {"teacher": 12, "student": 2}[step] * 6  # 90 rows in batches of 2 x 8
    assert not list(out.rglob(".partial-*"))
    job = _start(recipe, out)
    _, told = job.communicate(timeout=LIMIT)
    assert job.returncode == 0 and told.count("done before") == 3, told


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_one_killed_ends_the_job_and_the_next_goes_on(victim: int, tmp_path: Path) -> None:
    """A job that hangs, half an artifact, or a second start from nothing."""
    recipe, out = _recipe(tmp_path, epochs=60), tmp_path / "runs" / "pair"
    job = _start(recipe, out)
    deadline = time.monotonic() + LIMIT
    while job.poll() is None and time.monotonic() < deadline and not list(out.glob(".work/student-*/checkpoint-*")):
        time.sleep(0.05)
    os.kill(_children(job.pid)[victim], signal.SIGKILL)
    _, told = job.communicate(timeout=LIMIT)
    assert job.returncode != 0 and "SIGKILL" in told and f"local_rank: {victim}" in told
    assert not (out / "student").exists() and (out / "teacher").exists()
    step = max(int(path.name.partition("-")[2]) for path in out.glob(".work/student-*/checkpoint-*"))
    job = _start(recipe, out)
    _, told = job.communicate(timeout=LIMIT)
    assert job.returncode == 0, told
    assert _measured(out, "student")["resumed_from"] in (step, step - 2)


@pytest.mark.slow
def test_wrong_input_is_told_once(tmp_path: Path) -> None:
    """The same message from each process, or none because the launcher killed the one that speaks."""
    recipe = _recipe(tmp_path, epochs=2)
    recipe.write_text(recipe.read_text().replace("ema: 0.9", "emma: 0.9"))
    job = _start(recipe, tmp_path / "runs" / "pair")
    said, told = job.communicate(timeout=LIMIT)
    assert job.returncode != 0 and said == ""
    assert told.count('did you mean "ema"') == 1, told


def _children(launcher: int) -> list[int]:
    """Process ids of the two workers, by rank."""
    ranks: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        rank = next((value[5:] for value in variables if value.startswith(b"RANK=")), b"")
        if parent == launcher and rank:
            ranks[int(rank)] = int(entry.name)
    return [ranks[rank] for rank in sorted(ranks)]
