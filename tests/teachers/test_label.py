"""`label`: a corpus and a teacher become Signals, by one process or several, cut off or not."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from compress.core.artifact import ArtifactWriter, verify
from compress.core.errors import InputError, JobError
from compress.corpora.corpus import Corpus
from compress.signals import shards
from compress.signals.content import batch_keys
from compress.signals.keep import Keep
from compress.signals.store import Signals
from compress.steps.base import Context
from compress.tasks.batch import pad
from compress.tasks.classify import Classify
from compress.tasks.features import encode_rows
from compress.train.folder import load_model
from teachers import signals
from teachers.signals import label
from teachers.steps.label import Label
from tests.teachers.helpers import Ears, corpus_of, sentences, small_checkpoint, small_corpus

QUICK: dict[str, Any] = {"keep": Keep(hidden=[1, 2]), "precision": "fp32", "device": "cpu", "batch_size": 8}
FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["teachers.signals", "transformers.models.bert.modeling_bert"])


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A corpus of 100 and 64 rows, and a teacher with a head."""
    folder = tmp_path_factory.mktemp("label")
    return small_corpus(folder / "corpus", train=100), small_checkpoint(folder / "teacher", labels=["bad", "good"])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "manifest.json"}


def test_the_step_writes_signals_of_train_and_unlabeled(scene: tuple[Path, Path], tmp_path: Path) -> None:
    """An artifact that lacks a split, or says another teacher's logits, is found out by the student only."""
    corpus, teacher = scene
    step = Label.model_validate(
        {"corpus": "$corpus", "teacher": "$teacher", "keep": {"hidden": "last", "embedding": True}, "precision": "fp32",
         "device": "cpu"}
    )  # fmt: skip
    writer = ArtifactWriter(tmp_path / "labelled")
    inputs = {"$corpus": corpus, "$teacher": teacher}
    context = Context("labelled", inputs, writer.open(), tmp_path / "work", 7, Ears())
    step.run(context)
    writer.commit({"kind": step.kind, "key": "l", "about": context.about, "measured": context.measured})
    about = verify(tmp_path / "labelled", "Signals")["about"]
    assert about["rows"] == {"train": 100, "unlabeled": 64} and about["keeps"] == "logits, embedding, hidden 2"
    assert about["stored_rows"] <= 164 and context.measured["rows_per_second"] > 0
    signals = Signals.open(tmp_path / "labelled")
    loaded = load_model(str(teacher), Classify.auto_class)
    rows = Corpus.open(corpus).texts("train")[:5] + Corpus.open(corpus).texts("unlabeled")[-3:]
    features = encode_rows(Classify(), loaded.tokenizer, [{"text": row["text"]} for row in rows], loaded.max_length)
    got = signals.read(signals.find(batch_keys(pad(features, loaded.tokenizer.pad_token_id))), ["logits", "hidden.2"])
    for number, feature in enumerate(features):
        with torch.no_grad():
            live = loaded.model(torch.tensor([feature["input_ids"]])).logits[0]
        assert torch.allclose(got["logits"][number], live, atol=1e-6)
    assert len(got["hidden.2"]) == sum(len(feature["input_ids"]) for feature in features)


def test_the_plain_function_opens_what_it_made(scene: tuple[Path, Path], tmp_path: Path) -> None:
    """A second call must not pay again, and one with other options must not get the old signals."""
    first = label(*scene, tmp_path / "out", **QUICK)
    before = (tmp_path / "out" / "manifest.json").read_bytes()
    assert len(label(*scene, tmp_path / "out", **QUICK)) == len(first)
    assert (tmp_path / "out" / "manifest.json").read_bytes() == before
    other = label(*scene, tmp_path / "out", **{**QUICK, "keep": Keep(hidden=[2]), "splits": ["dev"]})
    assert other.facts.kept.text() == "logits, hidden 2" and len(other) <= 64
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def _process(scene: tuple[Path, Path], out: Path, rank: int, world: int, dies_at: int) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world)}
    shards.ROWS = 16
    real, calls = shards.save_file, [0]

    def dying(arrays: Any, path: Path) -> None:
        real(arrays, path)
        calls[0] += 1
        if calls[0] == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    shards.save_file = dying
    label(*scene, out, **QUICK)


def _run(scene: tuple[Path, Path], out: Path, world: int = 1, dies_at: int = 0) -> list[int | None]:
    processes = [FORK.Process(target=_process, args=(scene, out, rank, world, dies_at)) for rank in range(world)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    return [process.exitcode for process in processes]


def test_two_processes_write_what_one_writes(scene: tuple[Path, Path], tmp_path: Path) -> None:
    """A shard that is left out, made twice otherwise, or listed in the order of arrival changes the artifact."""
    assert _run(scene, tmp_path / "one") == [0]
    assert _run(scene, tmp_path / "two", world=2) == [0, 0]
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert len(contents(tmp_path / "one")) == 7 + 4 + 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_killed_in_the_middle_and_run_again(scene: tuple[Path, Path], tmp_path: Path) -> None:
    """What a kill leaves (half a shard, an unfinished folder) must neither be used nor stand in the way."""
    assert _run(scene, tmp_path / "whole") == [0]
    assert _run(scene, tmp_path / "out", dies_at=4) == [-signal.SIGKILL]
    assert not (tmp_path / "out").exists()
    assert len(list((tmp_path / ".work-out").glob("*.json"))) == 3
    stamps = {
        path.name: path.stat().st_mtime_ns
        for path in (tmp_path / ".work-out").glob("*.safetensors")
        if not path.name.startswith(".")
    }
    (tmp_path / ".work-out.gone").mkdir()
    (tmp_path / ".work-out.gone" / "left").touch()  # by a kill while an earlier job cleared up
    assert _run(scene, tmp_path / "out") == [0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "whole"]
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    made = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.safetensors")}
    assert len(stamps) == 3 and stamps.items() <= made.items()


def test_files_that_another_process_takes_away_meanwhile(scene: tuple[Path, Path], tmp_path: Path) -> None:
    """A process that looks for room while another renames or drops a shard must not end with a traceback."""
    work = tmp_path / ".work-out"
    work.mkdir()
    for gone in (".half-1.safetensors", ".half-1.json", "dropped.safetensors", "dropped.json"):
        (work / gone).symlink_to(tmp_path / "gone")  # listed, and not there when it is asked for
    (work / "whole.safetensors").write_bytes(b"12345")
    (work / "whole.json").write_text('{"bytes": 5, "rows": 1, "tokens": 2, "sha256": "x"}', encoding="utf-8")
    assert shards.bytes_there(work) == 5
    assert len(label(*scene, tmp_path / "out", **QUICK)) == 164


def _cut_off(scene: tuple[Path, Path], out: Path) -> None:
    """A process that is killed when every shard is there and no artifact."""
    signals.complete = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    _process(scene, out, 0, 1, 0)


def _late(scene: tuple[Path, Path], out: Path, rank: int) -> None:
    """A process of two, the second of which is slow where it looks for room."""
    real = signals.bytes_there

    def slow(folder: Path) -> int:
        time.sleep(2.0 * rank)
        return real(folder)

    signals.bytes_there = slow
    calls = [0]
    monitored = shards.save_file

    def counting(arrays: Any, path: Path) -> None:
        calls[0] += 1
        monitored(arrays, path)

    shards.save_file = counting
    _process(scene, out, rank, 2, 0)
    if rank and calls[0]:
        raise AssertionError(f"{calls[0]} shards that were there have been made again")


def test_the_first_process_does_not_take_the_shards_away_from_a_slow_one(
    scene: tuple[Path, Path], tmp_path: Path
) -> None:
    """A job that goes on ends quickly for the process that has nothing left to make; the other still looks at what it
    made, and would find no folder, or make all of it again.
    """
    out = tmp_path / "out"
    first = FORK.Process(target=_cut_off, args=(scene, out))
    first.start()
    first.join(60)
    assert first.exitcode == -signal.SIGKILL
    processes = [FORK.Process(target=_late, args=(scene, out, rank)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_rows_are_read_in_chunks(scene: tuple[Path, Path]) -> None:
    """A split of a million rows as a list of dictionaries takes gigabytes."""
    corpus = Corpus.open(scene[0])
    parts = list(corpus.chunks("train", 30))
    assert [len(part) for part in parts] == [30, 30, 30, 10]
    assert [row for part in parts for row in part] == corpus.texts("train")
    with pytest.raises(InputError, match="no nothing split"):
        next(corpus.chunks("nothing"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"splits": ["train", "nothing"]}, "has no nothing split"),
        ({"max_length": 999}, "reads at most 16 tokens"),
        ({"max_length": 2}, "max_length: expected 8 tokens or more, came 2"),
        ({"batch_size": 0}, "batch_size: expected 1 or more, came 0"),
        ({"splits": []}, "splits: none are named"),
        ({"dtype": "int8"}, "dtype: expected fp16, bf16, fp32, came 'int8'"),
        ({"device": "gpu"}, "device: expected auto, cpu, cuda, came 'gpu'"),
        ({"precision": "fp16"}, "precision: expected auto, fp32, bf16, came 'fp16'"),
        ({"keep": Keep(hidden=[5])}, r"keep\.hidden: the teacher has no layer 5"),
        ({"keep": Keep(top=2)}, "keeps all of them; leave `top` out"),
    ],
)
def test_what_cannot_be_labelled_is_refused(
    options: dict[str, Any], words: str, scene: tuple[Path, Path], tmp_path: Path
) -> None:
    """Each of these would otherwise end in an artifact that the student cannot use, or in a traceback."""
    with pytest.raises(InputError, match=words):
        label(*scene, tmp_path / "out", **{**QUICK, **options})
    assert not (tmp_path / "out").exists()


def test_a_teacher_without_a_head_keeps_no_logits(scene: tuple[Path, Path], tmp_path: Path) -> None:
    """Logits of a random head look like any others."""
    body = small_checkpoint(tmp_path / "body")
    with pytest.raises(InputError, match=r"no trained head .* keep: \{logits: false\}"):
        label(scene[0], body, tmp_path / "out", **QUICK)
    assert len(label(scene[0], body, tmp_path / "out", **{**QUICK, "keep": Keep(logits=False, hidden=[1])})) > 100


def test_an_empty_split_is_refused(scene: tuple[Path, Path], tmp_path: Path) -> None:
    """An artifact of no rows."""
    writer = ArtifactWriter(tmp_path / "corpus")
    (writer.open() / "train.parquet").write_bytes((scene[0] / "train.parquet").read_bytes())
    about = {"task": {"classify": {}}, "labels": ["bad", "good"], "rows": {"train": 0}, "slices": False}
    corpus = writer.commit({"kind": "Corpus", "key": "k", "about": about})
    with pytest.raises(InputError, match=r"the train split of .* has no rows"):
        label(corpus, scene[1], tmp_path / "out", **QUICK)


def test_masked_text_is_refused(scene: tuple[Path, Path], tmp_path: Path) -> None:
    """The task `mask` hides other tokens in every batch, so its signals would never be found."""
    text = [{"text": row["text"]} for row in sentences(20, 9)]
    corpus = corpus_of(tmp_path / "corpus", {"train": text, "dev": text}, {"mask": {}}, [])
    with pytest.raises(InputError, match="hides other tokens"):
        label(corpus, scene[1], tmp_path / "out", **{**QUICK, "keep": Keep(logits=False, hidden=[1])})


def test_a_disk_that_is_too_small_is_said_first(
    scene: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hours of labelling that end with a full disk."""
    monkeypatch.setattr(shards, "SPARE", 1 << 60)
    with pytest.raises(JobError, match="make room"):
        label(*scene, tmp_path / "out", **QUICK)


def test_a_damaged_artifact_is_refused(scene: tuple[Path, Path], tmp_path: Path) -> None:
    """A flipped bit in a shard loads silently."""
    signals = label(*scene, tmp_path / "out", **QUICK)
    path = tmp_path / "out" / f"{signals.names[0]}.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 2
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match="does not match its recorded SHA-256"):
        Signals.open(tmp_path / "out")
    with pytest.raises(InputError, match="expected a Signals, came a Corpus"):
        Signals.open(scene[0])
