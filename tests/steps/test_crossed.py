"""distill: a student that embeds texts, from a teacher that reads both texts of a pair together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from compress.bench.options import BenchOptions
from compress.bench.run import bench_models
from compress.core.errors import InputError
from compress.core.trace import Trace
from compress.distill.crossed import CrossedTeacher, crossed_task
from compress.distill.teacher import Teacher
from compress.losses.hard_contrastive import HardContrastive
from compress.losses.margin_mse import MarginMSE
from compress.runtime.student import Student
from compress.tasks.embed import Embed
from tests.steps.test_distill import distilled
from tests.steps.test_ranking import STUDENT, candidates, measured, ranking_corpus
from tests.teachers.helpers import Ears, corpus_of, small_checkpoint, taught

TASK: dict[str, Any] = {"text": "text", "text_pair": "text_pair", "target": "score", "highest": 3, "group": "group"}
CROSSED: dict[str, Any] = {"student": STUDENT, "losses": ["margin_mse"], "unlabeled": "ignore"}


def pair_corpus(folder: Path, scored: bool = True, **options: Any) -> Path:
    """The candidates of `ranking_corpus` as pairs to embed."""
    splits = {"train": candidates(40, 1, scored), "dev": candidates(16, 2, scored)}
    if scored:
        splits["unlabeled"] = candidates(20, 3, False)
    task = Embed(**{**TASK, **({} if scored else {"target": None, "highest": None}), **options})
    return corpus_of(folder, splits, {"embed": task.dump()}, [])


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Pairs to embed, and a scorer of such pairs that learnt on the same rows."""
    folder = tmp_path_factory.mktemp("crossed")
    body = str(small_checkpoint(folder / "body"))
    teacher = taught(body, ranking_corpus(folder / "scores"), folder / "teacher", epochs=20)
    return pair_corpus(folder / "pairs"), teacher


@pytest.mark.parametrize(("loss", "normalize"), [("margin_mse", True), ("margin_mse", False), ("ranking_kl", True)])
def test_embeddings_learn_the_order_of_a_cross_encoder(
    scene: tuple[Path, Path], tmp_path: Path, loss: str, normalize: bool
) -> None:
    """Prevents a student whose embeddings are compared with something else than the pair's score, or with that of
    another pair: on other queries the product of the embeddings orders candidates as the teacher does."""
    pairs = pair_corpus(tmp_path / "pairs", normalize=normalize)
    folder = distilled(pairs, scene[1], tmp_path / "student", **{**CROSSED, "losses": [loss]}, epochs=16)
    told = measured(folder)
    assert told["teacher"]["dev"]["group_spearman"] > 0.7 and told["dev"]["group_spearman"] > 0.5
    assert {"ndcg@10", "mrr@10", "spearman", "pearson"} < set(told["dev"])
    assert told["retained"] == pytest.approx(told["dev"]["group_spearman"] / told["teacher"]["dev"]["group_spearman"])
    found = Student.load(folder).predict(["a good film"])
    assert len(found) == 1


def test_labels_may_stand_beside_the_teacher(scene: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevents embeddings that became scores before a loss on labels saw them, and rows that nobody judged left out."""
    folder = distilled(
        *scene,
        tmp_path / "student",
        **{**CROSSED, "losses": ["margin_mse", "hard_cosine"], "unlabeled": "use"},
        epochs=1,
    )
    told = measured(folder)["first_batch"]
    assert told["margin_mse"]["gradient"] > 0 and told["hard_cosine"]["gradient"] > 0


def test_stored_scores_give_the_same_student(scene: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevents scores that are stored under the student's texts in place of the teacher's pairs."""
    live, stored = (
        distilled(*scene, tmp_path / mode, **CROSSED, epochs=1, teacher_mode=mode, device="cpu")
        for mode in ("live", "stored")
    )
    weights = [load_file(folder / "model.safetensors") for folder in (live, stored)]
    assert all(value.allclose(weights[1][name], atol=1e-5) for name, value in weights[0].items())
    assert measured(stored)["teacher_mode"]["rows_found"] > 0 == measured(stored)["teacher_mode"]["rows_computed"]


def test_pairs_that_nobody_judged_are_enough(scene: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevents a corpus of candidates without scores from being refused, or taken for pairs that belong together."""
    bare = pair_corpus(tmp_path / "pairs", scored=False)
    told = measured(distilled(bare, scene[1], tmp_path / "student", **CROSSED, epochs=1))
    assert "dev" not in told and told["first_batch"]["margin_mse"]["gradient"] > 0
    with pytest.raises(InputError, match="hard_contrastive: learns from pairs that belong together"):
        distilled(bare, scene[1], tmp_path / "other", **{**CROSSED, "losses": ["margin_mse", "hard_contrastive"]})


def test_a_student_with_another_tokenizer(scene: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevents a teacher that is given the student's tokens."""
    own = {"tokenizer": {"wordpiece": {"size": 90}}}
    told = measured(distilled(*scene, tmp_path / "student", **{**CROSSED, **own}, epochs=8))
    assert told["dev"]["group_spearman"] > 0.3


def test_what_a_cross_encoder_cannot_teach_is_refused(scene: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevents states of two texts compared with those of one, a random head as the teacher, single texts as pairs."""
    with pytest.raises(
        InputError, match="embedding_mse: compares texts by themselves, and margin_mse makes the teacher"
    ):
        distilled(*scene, tmp_path / "a", **{**CROSSED, "losses": ["margin_mse", "embedding_mse"]})
    body = small_checkpoint(tmp_path / "body")
    with pytest.raises(InputError, match="gives no scores of pairs, and margin_mse under the task embed learns those"):
        distilled(scene[0], body, tmp_path / "b", **CROSSED)
    plain = pair_corpus(tmp_path / "pairs", group=None)
    with pytest.raises(InputError, match=r"margin_mse: compares the candidates.*embed: .*group: query_id"):
        distilled(plain, scene[1], tmp_path / "c", **CROSSED)
    alone = corpus_of(
        tmp_path / "alone",
        {"train": candidates(8, 1), "dev": candidates(8, 2), "unlabeled": [{"text": "a film", "group": "x"}]},
        {"embed": Embed(**TASK).dump()}, [],
    )  # fmt: skip
    with pytest.raises(InputError, match="1 of 1 unlabelled rows have one text, which a cross-encoder cannot score"):
        distilled(alone, scene[1], tmp_path / "d", **{**CROSSED, "unlabeled": "use"})
    ears = Ears()
    distilled(alone, scene[1], tmp_path / "e", ears, **{**CROSSED, "unlabeled": "auto"}, epochs=1)
    assert any("none is used" in warning for warning in ears.warnings)


def test_the_same_student_without_the_teacher(scene: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevents a comparison that is refused, since a cross-encoder's states were taken for embeddings and scored."""
    told = measured(distilled(*scene, tmp_path / "student", **{**CROSSED, "losses": ["hard_cosine"]}, epochs=1))
    assert told["teacher"]["dev"]["group_spearman"] > 0.7 and "group_spearman" in told["dev"]


def test_the_student_s_length_does_not_cut_the_teacher_s_pairs(scene: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevents a teacher that reads half of a pair, since the student reads short texts."""
    folder = distilled(*scene, tmp_path / "student", **CROSSED, epochs=1, max_length=8)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["measured"]["teacher"]["dev"]["group_spearman"] > 0.7
    assert manifest["about"]["max_length"] == 8


@pytest.mark.slow
def test_bench_ranks_both_by_the_same_pairs(scene: tuple[Path, Path], tmp_path: Path) -> None:
    """Prevents a crash where a scorer of pairs and the student that embeds them are measured side by side, and a number
    for one that answers something else."""
    student = distilled(*scene, tmp_path / "student", **CROSSED, epochs=1)
    options, both = BenchOptions(batch_sizes=[2], probes=["quality"]), [str(scene[1]), str(student)]
    found = bench_models(both, scene[0], options, names=["cross", "bi"])
    values = {one["name"]: one["quality"] for one in found["subjects"]}
    assert values["cross"]["values"]["group_spearman"]["value"] > 0.7
    assert values["bi"]["retained"]["value"] == pytest.approx(
        values["bi"]["values"]["group_spearman"]["value"] / values["cross"]["values"]["group_spearman"]["value"]
    )
    scores = ranking_corpus(tmp_path / "scores")
    found = bench_models(both, scores, options, names=["cross", "bi"])
    assert "gives embeddings" in str(found["subjects"][1]["quality"]["values"])


class Silent(Teacher):
    """Says nothing; only how a student's trace is aligned with it is of interest."""

    depth, width = 1, 4

    def want(self, wanted: Any) -> None:
        """Nothing."""

    def trace(self, batch: Any) -> Trace:
        """Never asked."""
        raise AssertionError

    def close(self) -> None:
        """Nothing."""


@pytest.mark.parametrize(("normalize", "scores"), [(True, [[8.0], [-4.0]]), (False, [[0.8], [-0.4]])])
def test_scores_of_pairs_by_hand(normalize: bool, scores: list[list[float]]) -> None:
    """Prevents the score of a text and its neighbour's pair, and a temperature that is left out or counted twice."""
    task = Embed(text_pair="text_pair", group="group", normalize=normalize, temperature=0.1)
    teacher = CrossedTeacher(Silent(), task, "own_")
    vectors = torch.tensor([[0.6, 0.8], [0.0, 1.0], [1.0, 0.0], [-0.4, 0.9]])
    labels = torch.tensor([[0.0, float("nan")], [0.0, float("nan")], [1.0, 0.5], [1.0, 0.5]])
    student = Trace(mask=torch.ones(4, 3).bool(), logits=vectors, labels=labels, outputs=torch.ones(4).bool())
    batch = {
        "own_outputs": torch.ones(2).bool(),
        "own_groups": torch.tensor([0, 0]),
        "own_attention_mask": torch.ones(2, 5).long(),
    }
    found = teacher.align(student, batch)
    assert found.logits is not None and torch.allclose(found.logits, torch.tensor(scores))
    other = Trace(
        mask=torch.ones(2, 5).bool(), logits=torch.tensor([[3.0], [1.0]]), outputs=batch["own_outputs"],
        groups=batch["own_groups"],
    )  # fmt: skip
    margin = scores[0][0] - scores[1][0]
    assert float(MarginMSE()(found, other)) == pytest.approx((margin - 2.0) ** 2)


def test_only_rankings_of_embeddings_are_crossed() -> None:
    """Prevents a teacher of embeddings that is taken for a scorer of pairs."""
    task = Embed(text_pair="text_pair", group="group")
    assert crossed_task(task.as_pairs(), [MarginMSE()], "no folder") is None
    assert crossed_task(Embed(text_pair="text_pair"), [HardContrastive()], "no folder") is None
