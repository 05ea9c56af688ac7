"""The benchmark of pruning: what it counts, claims of parts that were not run, and its picture."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from transformers import BertConfig, BertForSequenceClassification

from benchmarks import prune, prune_parts, prune_peer
from benchmarks.prune_peer import counts_of, cut, nearest, peer, ratios_of, shapes_near, share_of
from benchmarks.prune_picture import draw
from benchmarks.seeds import over
from compress.core.artifact import ArtifactWriter

FIT = {"base_ms": 1.0, "layer_ms": 0.0, "heads_ms": [[1, 0.0], [12, 5.5]], "neurons_ms": [[8, 0.0], [1536, 7.64]]}
FACTS = {"heads": {"before": [12, 12]}, "neurons": {"before": [1536, 1536]}}


def test_the_peer_gets_the_same_time() -> None:
    """A peer that is compared at a larger model, or at a smaller one."""
    aim = {"reference_ms": 14.14, "measured": {"speedup": 2.0}, "fit": FIT}
    share = share_of(aim, {"about": {"pruned": {"heads+ffn": FACTS}}})
    heads, neurons = counts_of(share, 12, 1536)
    assert 1 + 0.5 * (heads - 1) + 0.005 * (neurons - 8) <= 7.07
    more = counts_of(share - 0.02, 12, 1536)
    assert 1 + 0.5 * (more[0] - 1) + 0.005 * (more[1] - 8) > 6.5
    assert counts_of(0.99, 12, 1536) == (1, 16)


def test_the_peer_is_asked_for_what_it_makes_exactly() -> None:
    """A peer that is smaller than planned: heads are rounded up and neurons down, so no share gives the counts."""
    for share in range(100):
        heads, neurons = counts_of(share / 100, 12, 384)
        head_ratio, neuron_ratio = ratios_of(heads, neurons, 12, 384)
        stay = int((1 - neuron_ratio) * 384)
        assert (12 - math.ceil(head_ratio * 12), stay - stay % 8) == (heads, neurons)
    assert ratios_of(12, 384, 12, 384) == (0.0, 0.0)  # anything above 0 takes a head, and eight neurons


def bert() -> BertForSequenceClassification:
    """Two layers of 12 heads and 384 neurons."""
    config = BertConfig(
        vocab_size=20, hidden_size=24, num_hidden_layers=2, num_attention_heads=12, intermediate_size=384
    )
    return BertForSequenceClassification(config).eval()


def test_torch_pruning_makes_the_planned_counts() -> None:
    """The arithmetic of another version of torch-pruning, or of another reading of it. Skipped without it."""
    installed = Path(str(pytest.importorskip("torch_pruning").__file__)).parents[1]
    for share in (0.01, 0.05, 0.59, 0.68, 0.77, 0.86, 0.95):
        model, (heads, neurons) = bert(), counts_of(share, 12, 384)
        cut(model, heads, neurons, str(installed))
        for layer in model.bert.encoder.layer:
            assert layer.attention.self.query.out_features == 2 * heads
            assert layer.intermediate.dense.out_features == neurons


def test_a_peer_of_other_counts_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A comparison with a smaller model that is called equally fast."""
    idle: Any = ModuleType("torch_pruning")
    idle.pruner = SimpleNamespace(BasePruner=lambda *given, **options: SimpleNamespace(step=list))
    idle.importance = SimpleNamespace(MagnitudeImportance=dict)
    monkeypatch.setitem(sys.modules, "torch_pruning", idle)
    monkeypatch.setattr(sys, "path", list(sys.path))
    cut(bert(), 12, 384, str(tmp_path))
    with pytest.raises(SystemExit, match=r"11 heads and 368 neurons were wanted .* made \[\(12, 384\)\]"):
        cut(bert(), 11, 368, str(tmp_path))


def test_a_peer_of_another_shape_is_made_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder that was cut for an earlier prune, compared with the one of now."""
    options = argparse.Namespace(torch_pruning=tmp_path)
    asked: list[tuple[int, int]] = []

    def saved(options: Any, heads: int, neurons: int, key: str, folder: Path) -> Path:
        asked.append((heads, neurons))
        writer = ArtifactWriter(folder)
        writer.open()
        return writer.commit({"kind": "Model", "key": key, "about": {}, "measured": {}})

    monkeypatch.setattr(prune_peer, "_saved", saved)
    made = peer(options, (6, 768), tmp_path / "cut")
    assert made == peer(options, (6, 768), tmp_path / "cut") == tmp_path / "cut"
    peer(options, (5, 768), tmp_path / "cut")
    assert asked == [(6, 768), (5, 768)]


def test_the_peer_is_as_fast_as_was_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A peer that is a tenth faster than ours, because a fitted table said so: what a bench measured decides."""
    aim = {"reference_ms": 14.14, "measured": {"speedup": 2.0}, "fit": FIT}
    ours = {"about": {"pruned": {"heads+ffn": {**FACTS, "target": aim}}}}
    near = shapes_near(ours)
    predicted = counts_of(share_of(aim, ours), 12, 1536)
    assert predicted in near and min(near) < predicted < max(near) and (12, 1536) not in near
    assert nearest({(6, 768): 2.4, (7, 800): 2.05, (8, 900): 1.8}, 2.0) == (7, 800)
    slowest = max(near)
    ran: dict[str, Any] = {}

    def run(name: str, seed: int, steps: dict[str, Any], options: Any) -> Path:
        ran.update(steps)
        return tmp_path / name

    monkeypatch.setattr(prune_parts, "ran", run)
    monkeypatch.setattr(prune_parts, "recipe", lambda name, seed, steps: name)
    monkeypatch.setattr(prune_parts, "fan_out", lambda recipes, out, jobs: None)
    monkeypatch.setattr(prune_parts, "manifest", lambda folder: ours)
    monkeypatch.setattr(
        prune_parts,
        "cell",
        lambda folder, name, batch: {"faster": 2.0 if name in (f"onnx-{slowest[0]}-{slowest[1]}", "onnx-a") else 3.0},
    )
    monkeypatch.setattr(prune_peer, "peer", lambda options, shape, folder: (shape, folder))
    options = argparse.Namespace(
        data=tmp_path, teacher="t", samples=8, length=64, threads=1, recover_rows=None, out=tmp_path, jobs=1
    )
    assert prune_parts.peers(options, {"a": tmp_path / "small"}) == {"a": (slowest, tmp_path / "a-cut")}
    assert ran["onnx-a"]["export"]["model"] == str(tmp_path / "small")
    assert set(ran["speed"]["bench"]["models"]) == {"$teacher-onnx", "$onnx-a", *(f"$onnx-{h}-{n}" for h, n in near)}


def test_the_claim_of_part_a_is_that_of_its_bench(tmp_path: Path) -> None:
    """The timing that a model was chosen by, reported as its speed."""
    options = argparse.Namespace(out=tmp_path, seeds=[1])
    pruned = {
        "target": {"predicted": {"speedup": 1.5}, "measured": {"speedup": 1.7}, "tries": [{}],
                   "fit": {"largest_error": 0.1}},
        "heads": {"after": [3]}, "neurons": {"after": [8]},
    }  # fmt: skip
    dev = {"dev": {"accuracy": 0.9}}
    written(tmp_path / "prune-a-1" / "once" / "manifest.json",
            {"about": {"pruned": {"heads+ffn": pruned}}, "measured": {"before": dev, **dev}})  # fmt: skip
    assert prune_parts.rows_a(options) == []
    line = {"mix": "grid", "batch": 1, "ratio": {"value": 1.4, "interval": [1.3, 1.5]}, "p50": {"value": 2.0},
            "length": 64}  # fmt: skip
    speed = tmp_path / "prune-a-1" / "speed"
    written(speed / "manifest.json", {"kind": "Measures"})
    written(speed / "measures.json", {"subjects": [{"name": "once-onnx", "latency": [line]}]})
    (row,) = prune_parts.rows_a(options)
    assert (row["faster"], row["interval"], row["by_the_step"], row["length"]) == (1.4, [1.3, 1.5], 1.7, 64)


def written(path: Path, content: dict[str, Any]) -> None:
    """A JSON file, its folders made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def test_part_a_and_part_b_are_timed_after_the_prune(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A benchmark that measures a part only where the peer is installed, or not at all."""
    ran: dict[str, dict[str, Any]] = {}
    order: list[str] = []

    def run(name: str, seed: int, steps: dict[str, Any], options: Any) -> Path:
        ran[name] = dict(steps)
        order.append(f"{name} {' '.join(steps)}")
        return tmp_path / name

    def side_by_side(recipes: Any, out: Path, jobs: int) -> None:
        order.append(f"{len(recipes)} recipes, {jobs} at a time")

    monkeypatch.setattr(prune_parts, "ran", run)
    monkeypatch.setattr(prune_parts, "recipe", lambda name, seed, steps: name)
    monkeypatch.setattr(prune_parts, "fan_out", side_by_side)
    options = argparse.Namespace(
        data=tmp_path, teacher="t", seeds=[1], samples=8, length=64, threads=1, recover_rows=None, out=tmp_path, jobs=2,
        torch_pruning=None,
    )  # fmt: skip
    prune_parts.run_a(options)
    prune_parts.run_b(options)
    assert set(ran) == {"prune-a-1", "prune-b-2x-1", "prune-b-3x-1"}
    models = {name: steps["speed"]["bench"]["models"] for name, steps in ran.items()}
    assert models["prune-a-1"] == ["$teacher-onnx", "$once-onnx"]
    assert order[1:4] == ["prune-b-2x-1 corpus small", "prune-b-3x-1 corpus small", "2 recipes, 2 at a time"]
    assert models["prune-b-2x-1"] == ["$teacher-onnx", "$well-onnx"]


def test_every_cut_of_the_vocabulary_is_claimed() -> None:
    """A promise on the corpus's vocabulary that is replaced by an easier one, or a name that changes with the data."""
    shares = {"fewer": 2.26, "used": 2.64, "frequent": 3.05}
    assert set(prune_parts.VOCABULARIES) == set(shares) and prune_parts.VOCABULARIES["used"] == {"characters": False}
    rows = [{"part": "d", "cut": cut, "smaller": smaller, "changed": 0} for cut, smaller in shares.items()]
    found = {one["name"]: one for one in prune.tokens(rows)}
    original = found["vocabulary of the corpus: embedding smaller"]
    assert (original["value"], original["target"], original["met"]) == (2.26, ">= 3", False)
    assert found["the 10,000 most frequent tokens: embedding smaller"]["met"]
    assert sum(name.endswith("changed predictions on covered text") for name in found) == 3
    assert all("(not run)" in one["name"] for one in prune.tokens(rows[:1])[2:])


def test_coverage_stands_in_the_rows(tmp_path: Path) -> None:
    """A share of covered texts that can be read nowhere, or of the wrong split."""
    written(tmp_path / "prune-d" / "used" / "manifest.json", {"about": {"pruned": {"vocab": {"rows": [300, 100]}}}})
    split = {"train": {"covered": 99, "texts": 100}, "dev": {"covered": 1, "texts": 3}}
    written(tmp_path / "prune-d" / "compared-used.json", {**split, "changed": 0, "largest": 0.0})
    (row,) = prune_parts.rows_d(argparse.Namespace(out=tmp_path))
    assert (row["cut"], row["smaller"], row["covered_train"], row["covered_dev"]) == ("used", 3.0, 99.0, 33.33)


def test_one_seed_shows_nothing() -> None:
    """A claim over seeds that is met by the luck of one."""
    assert over("x", [5.0], "> 0", "points")["met"] is False and "one seed" in over("x", [5.0], "> 0", "")["name"]
    assert over("x", [5.0, 5.1], "> 0", "points")["met"] and not over("x", [5.0, 0.1], "> 0", "points")["met"]
    rows = [
        {"part": "e", "by": by, "point": str(point), "seed": 1, "accuracy": accuracy}
        for by, accuracy in (("fisher", 90.0), ("random", 60.0))
        for point in range(8)
    ]
    assert not any(one["met"] for one in prune.curve(rows)[1:])
    more = prune.curve([*rows, *({**row, "seed": 2} for row in rows)])
    assert [one["name"] for one in more if one["met"]] == [
        "curve: points", "curve: fisher above random, mean over the points",
    ]  # fmt: skip


def test_seeds_are_counted_where_there_are_fewest() -> None:
    """Three seeds that are claimed when one part, or the peer, had one."""
    rows: list[dict[str, Any]] = [{"part": part, "seed": seed} for part in "ae" for seed in (1, 2, 3)]
    rows += [
        {"part": "b", "aim": aim, "model": model, "seed": seed}
        for aim in prune_parts.AIMS
        for model in ("stillroom", "torch-pruning")
        for seed in (1, 2, 3)
    ]
    assert prune.seeds(rows)["met"] and prune.seeds(rows)["value"] == 3
    assert prune.seeds(rows[:-1])["value"] == 2 and not prune.seeds([])["met"]


def test_parts_that_were_not_run_are_claims_that_are_not_met() -> None:
    """A promise that is gone because its part was skipped."""
    found = [*prune.without_training([]), *prune.recovered([]), *prune.halved([]), *prune.tokens([]), *prune.curve([])]
    assert len(found) == 2 + 8 + 2 + 6 + 8 and not any(one["met"] for one in found)
    assert all(word in " ".join(one["name"] for one in found) for word in ("1.5x", "2x", "3x", "batch 8", "curve"))


def test_claims_follow_the_rows() -> None:
    """A gain that is a loss, or a peer that is compared with another seed."""
    rows = [
        {"part": "b", "aim": 2.0, "model": model, "seed": seed, "faster": faster, "lost": lost}
        for seed in (1, 2)
        for model, faster, lost in (("stillroom", 2.1, 0.5), ("torch-pruning", 2.0, 2.5))
    ]
    found = {one["name"]: one for one in prune.recovered(rows)}
    assert found["2x: above torch-pruning and plain fine-tuning"]["value"] == 2.0
    assert found["one epoch of recovery, 2x: below the teacher"]["met"]
    assert found["2x: speed over that of torch-pruning"]["value"] == pytest.approx(1.05)


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    """A picture that is found to be impossible after hours of measuring."""
    rows = [
        {
            "by": by,
            "point": str(point),
            "faster": 1 + point,
            "accuracy": 90 - point * worse,
            "teacher": 92.0,
            "length": 64,
        }
        for by, worse in (("fisher", 1), ("random", 9))
        for point in range(4)
    ]
    draw(rows, tmp_path / "curve.svg")
    text = (tmp_path / "curve.svg").read_text()
    assert text.startswith("<svg") and "fisher" in text and "random" in text
