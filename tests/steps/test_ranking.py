"""Distilling a scorer of candidates by losses on rankings, as a recipe does."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from compress.core.errors import InputError
from compress.distill.groups import groups_of
from compress.losses.margin_mse import MarginMSE
from compress.train import batches
from compress.train.batches import Draw
from tests.steps.test_distill import distilled
from tests.teachers.helpers import BAD, GOOD, REST, Ears, corpus_of, small_checkpoint, taught

TASK = {"text": "text", "text_pair": "text_pair", "target": "score", "group": "group"}
STUDENT = {"tinybert": {"layers": 1, "width": 32, "heads": 2, "ffn": 64, "dropout": 0.0, "init": "truncated"}}
RANKED: dict[str, Any] = {"student": STUDENT, "losses": ["margin_mse", "ranking_kl"], "unlabeled": "ignore"}


def candidates(queries: int, seed: int, scored: bool = True) -> list[dict[str, Any]]:
    """Queries with four candidates each, of which those with good words are worth more."""
    draw = random.Random(seed)
    rows = []
    for number in range(queries):
        asked = " ".join(draw.choices(REST, k=2))
        for worth in (0, 1, 2, 3):
            words = draw.sample(GOOD, worth) + draw.sample(BAD, 3 - worth) + draw.choices(REST, k=2)
            draw.shuffle(words)
            row = {"text": asked, "text_pair": " ".join(words), "group": f"{seed}-{number}"}
            rows.append({**row, "score": float(worth)} if scored else row)
    draw.shuffle(rows)
    return rows


def ranking_corpus(folder: Path, scored: bool = True, **options: Any) -> Path:
    """A corpus of candidates, with some that nobody judged where others are."""
    splits = {"train": candidates(40, 1, scored), "dev": candidates(16, 2, scored)}
    if scored:
        splits["unlabeled"] = candidates(20, 3, False)
    task = {**TASK, **options} if scored else {**TASK, "target": None}
    return corpus_of(folder, splits, {"regress": task}, [])


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A corpus and a scorer that knows it."""
    folder = tmp_path_factory.mktemp("ranking")
    corpus = ranking_corpus(folder / "corpus")
    return corpus, taught(str(small_checkpoint(folder / "body")), corpus, folder / "teacher", epochs=20)


def measured(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["measured"]
    return found


def test_a_student_learns_the_order_of_candidates(
    scene: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents losses on rankings that no recipe can use, batches that tear queries, and a metric of other things."""
    seen: list[Draw] = []
    real = batches.Batches.__getitem__

    def watched(self: batches.Batches, draw: Draw) -> batches.Share:
        seen.append(draw)
        names = [self.data.features[row]["group"] for row in draw.rows]
        assert all(names.count(name) == 4 for name in names)
        return real(self, draw)

    monkeypatch.setattr(batches.Batches, "__getitem__", watched)
    student = measured(distilled(*scene, tmp_path / "student", **RANKED, epochs=12))
    assert len(seen) == 12 * 10
    assert student["teacher"]["dev"]["group_spearman"] > 0.7
    assert student["dev"]["group_spearman"] > 0.5
    assert {"ndcg@10", "mrr@10", "spearman", "pearson", "mse"} < set(student["dev"])
    assert student["retained"] == pytest.approx(
        student["dev"]["group_spearman"] / student["teacher"]["dev"]["group_spearman"]
    )


def test_stored_signals_give_the_same_student(scene: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevents groups that are lost where a teacher's scores come from a store, under accumulation too."""
    given = {**RANKED, "losses": ["margin_mse"], "epochs": 1, "accumulate": 2, "unlabeled": "use", "device": "cpu"}
    live, stored = (distilled(*scene, tmp_path / mode, **given, teacher_mode=mode) for mode in ("live", "stored"))
    weights = [load_file(folder / "model.safetensors") for folder in (live, stored)]
    assert all(value.allclose(weights[1][name], atol=1e-5) for name, value in weights[0].items())
    assert measured(stored)["teacher_mode"]["mode"] == "stored"
    assert json.loads((stored / "manifest.json").read_text())["about"]["trained_rows"] == {
        "train": 160,
        "unlabeled": 80,
    }


def test_candidates_that_nobody_judged_are_enough(scene: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevents a corpus without scores from being refused: only the teacher's margins are learnt."""
    bare = ranking_corpus(tmp_path / "corpus", scored=False)
    student = distilled(bare, scene[1], tmp_path / "student", **RANKED, epochs=1)
    assert "dev" not in measured(student) and "margin_mse" in measured(student)["first_batch"]
    with pytest.raises(InputError, match="rows without scores"):
        taught(str(scene[1]), bare, tmp_path / "teacher")


def test_a_student_with_another_tokenizer(scene: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevents groups that only one of two tokenizations of a row carries."""
    own = {"tokenizer": {"wordpiece": {"size": 90}}, "losses": ["margin_mse", {"hidden_mse": {"map": "last"}}]}
    student = distilled(*scene, tmp_path / "student", **{**RANKED, **own}, epochs=1)
    assert measured(student)["first_batch"]["margin_mse"]["gradient"] > 0


def test_no_groups_are_refused_before_anything_is_paid_for(scene: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevents a loss on rankings from failing inside the training, or from comparing candidates of two queries."""
    plain = ranking_corpus(tmp_path / "corpus", group=None)
    with pytest.raises(InputError, match=r"margin_mse: compares the candidates of a query.*group: query_id"):
        distilled(plain, tmp_path / "no such teacher", tmp_path / "student", **RANKED)
    with pytest.raises(InputError, match="batch_size is 1"):
        distilled(*scene, tmp_path / "student", **RANKED, batch_size=1)


def test_groups_that_cannot_be_compared() -> None:
    """Prevents a training on groups of one row, and groups that are cut without a word."""
    ears = Ears()
    losses = [MarginMSE()]
    with pytest.raises(InputError, match="each of the 3 groups of this corpus has one row"):
        groups_of(losses, [{"group": name} for name in "abc"], 8, ears)
    rows = [{"group": name} for name in "aaaaaaabb"]
    assert groups_of(losses, rows, 4, ears) == list("aaaaaaabb")
    assert "1 of 2 groups have more rows than a batch (4; the largest: 7)" in ears.warnings[0]
    assert groups_of(losses, rows, 8, ears) and len(ears.warnings) == 1
