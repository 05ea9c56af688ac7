"""Labelling that is cut off, shared or repeated gives the same shards, and makes none twice."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from compress.core.errors import InputError, JobError
from compress.core.trace import Trace
from compress.signals import shards
from compress.signals.arrays import flat
from compress.signals.keep import Keep
from compress.signals.maker import Maker, probe
from compress.signals.ranks import Ranks
from compress.tasks.features import collator, lengths
from compress.tasks.mask import Mask
from compress.train.batches import Batch
from tests.signals.made import COLLATE, batch_of, look_of, maker_of, rows

KEPT = Keep(hidden=[1]).of(2, "fp16")


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of ten rows."""
    monkeypatch.setattr(shards, "ROWS", 10)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if not path.name.startswith(".")}


@pytest.mark.usefixtures("small_shards")
def test_two_processes_make_what_one_makes(tmp_path: Path) -> None:
    """Batches that differ with the number of processes, or a shard that nobody makes, would change the artifact."""
    features = rows(35)
    with look_of(KEPT) as look:
        alone = maker_of(tmp_path / "one", look, KEPT, features).make(features, 35, "rows")
        for rank in (1, 0):
            names = maker_of(tmp_path / "two", look, KEPT, features, Ranks(rank, 2)).make(features, 35, "rows")
            made = sum(shards.note_of(tmp_path / "two", name) is not None for name in names)
            assert made == (2 if rank else 4) and names == alone
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert (tmp_path / "two" / ".alive-1").exists()


@pytest.mark.usefixtures("small_shards")
def test_a_job_goes_on_from_its_whole_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million rows that start anew after every interruption are never finished."""
    features = rows(35)
    seen: list[int] = []
    with look_of(KEPT) as look:

        def counted(batch: Batch) -> Trace:
            seen.append(len(batch["input_ids"]))
            return look(batch)

        names = maker_of(tmp_path / "whole", look, KEPT, features).make(features, 35, "rows")
        broken = maker_of(tmp_path / "broken", counted, KEPT, features)
        seen.clear()
        real, calls = shards.save_file, itertools.count()

        def dies(arrays: Any, path: Path) -> None:
            real(arrays, path)
            if next(calls) == 2:
                path.write_bytes(path.read_bytes()[:50])
                raise KeyboardInterrupt

        monkeypatch.setattr(shards, "save_file", dies)
        with pytest.raises(KeyboardInterrupt):
            broken.make(features, 35, "rows")
        assert sum(seen) == 30
        monkeypatch.setattr(shards, "save_file", real)
        seen.clear()
        assert broken.make(features, 35, "rows") == names
        assert sum(seen) == 15
        seen.clear()
        broken.make(features, 35, "rows")
        assert seen == []
    assert contents(tmp_path / "whole") == contents(tmp_path / "broken")


@pytest.mark.usefixtures("small_shards")
def test_a_damaged_shard_is_made_again(tmp_path: Path) -> None:
    """A flipped bit loads silently in safetensors; it must cost one shard, not the run and not its correctness."""
    features = rows(20)
    with look_of(KEPT) as look:
        maker = maker_of(tmp_path, look, KEPT, features)
        names = maker.make(features, 20, "rows")
        before = contents(tmp_path)
        path = tmp_path / f"{names[1]}.safetensors"
        content = bytearray(path.read_bytes())
        content[-3] ^= 16
        path.write_bytes(bytes(content))
        maker.make(features, 20, "rows")
    assert contents(tmp_path) == before


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("note", ["[]", "null", "5", '{"bytes": 1}', '{"rows": 5, "tokens": 9, "sha": "", "bytes": 0}'])
def test_a_damaged_note_costs_its_shard(note: str, tmp_path: Path) -> None:
    """A note that is JSON and not what was written must not end a job with a traceback."""
    features = rows(20)
    with look_of(KEPT) as look:
        maker = maker_of(tmp_path, look, KEPT, features)
        names = maker.make(features, 20, "rows")
        before = contents(tmp_path)
        (tmp_path / f"{names[1]}.json").write_text(note, encoding="utf-8")
        assert shards.note_of(tmp_path, names[1]) is None and shards.bytes_there(tmp_path) > 0
        maker.make(features, 20, "rows")
    assert contents(tmp_path) == before


@pytest.mark.usefixtures("small_shards")
def test_a_shard_that_goes_while_it_is_hashed_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process that found the same shard damaged drops it at any moment."""
    features = rows(20)
    with look_of(KEPT) as look:
        maker = maker_of(tmp_path, look, KEPT, features)
        maker.make(features, 20, "rows")
        before = contents(tmp_path)
        real = shards.file_sha256

        def dropping(path: Path) -> str:
            if not path.name.startswith("."):
                shards.drop(path.parent, path.stem)
            return real(path)

        monkeypatch.setattr(shards, "file_sha256", dropping)
        maker.make(features, 20, "rows")
    assert contents(tmp_path) == before


def test_lengths_and_device_decide_the_batches(tmp_path: Path) -> None:
    """A cut that sees no lengths pads as before; one for a CPU on a GPU asks for hundreds of small batches."""
    draw = rows(64)
    features = [*draw, {**draw[0], "input_ids": draw[0]["input_ids"] * 10}]
    with look_of(KEPT) as look:
        maker = maker_of(tmp_path, look, KEPT, draw)
    sizes = {}
    for device in ("cpu", "cuda"):
        (part,) = replace(maker, batch_size=64, device=device)._parts(features)
        sizes[device] = [len(batch["input_ids"]) for batch in part.batches]
    assert sizes["cpu"][0] < sizes["cuda"][0] == 64


@pytest.mark.parametrize("values", [[0.0, float("nan")], [float("inf"), 0.0], [0.0, -float("inf")]])
def test_no_damaged_number_is_stored(values: list[float]) -> None:
    """NaN and both infinities; a check of one end only would let the other in."""
    batch = batch_of(rows(1))
    trace = Trace(mask=batch["attention_mask"].bool(), logits=torch.tensor([values]))
    with pytest.raises(JobError, match="gives NaN or infinite logits"):
        flat(trace, Keep().of(2, "fp16"))


@pytest.mark.usefixtures("small_shards")
def test_what_decides_a_signal_decides_the_shard(tmp_path: Path) -> None:
    """Signals of another teacher, length or format under the same name would be used for this one."""
    features = rows(10)
    with look_of(KEPT) as look:
        maker = maker_of(tmp_path, look, KEPT, features)
    (part,) = shards.parts(features, COLLATE, maker.form, 4, 99)
    other = [Maker(**{**vars(maker), "kept": Keep(hidden=[1]).of(2, "bf16")})]
    for change in (
        {"teacher": "x"},
        {"tokenizer": "x"},
        {"max_length": 9},
        {"precision": "bf16"},
        {"task": {"tag": {}}},
    ):
        other.append(Maker(**{**vars(maker), "origin": type(maker.origin)(**{**maker.origin.as_json(), **change})}))
    names = {each.identity for each in (maker, *other)}
    assert len(names) == 7 and len({part.name(name) for name in names}) == 7
    assert part.name(maker.identity) != next(shards.parts(rows(10, seed=4), COLLATE, maker.form, 4, 99)).name(
        maker.identity
    )
    (again,) = shards.parts(features, COLLATE, maker.form, 7, 99)
    assert again.name(maker.identity) == part.name(maker.identity)


def test_shards_end_by_bytes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard is what stands in memory: long rows with many layers must not fill it with thousands of rows."""
    features = rows(60)
    with look_of(KEPT) as look:
        maker = maker_of(tmp_path, look, KEPT, features)
    monkeypatch.setattr(shards, "BYTES", 2000)
    made = list(shards.parts(features, COLLATE, maker.form, 4, 99))
    assert len(made) > 5 and sum(part.features for part in made) == 60
    assert all(maker.form.bytes_of(part.features, sum(part.lengths)) < 2000 + 500 for part in made)


def test_both_texts_of_a_pair_fill_a_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short text beside a long one counted as short: shards, and the memory that holds one, without a bound."""
    features = [{**row, "second": row["input_ids"] * 20} for row in rows(40)]
    with look_of(KEPT) as look:
        maker = maker_of(tmp_path, look, KEPT, rows(40))
    monkeypatch.setattr(shards, "TOKENS", 500)
    made = list(shards.parts(features, COLLATE, maker.form, 4, 999))
    ends = [0, *itertools.accumulate(part.features for part in made)]
    taken = [sum(lengths(features[first:last])) for first, last in itertools.pairwise(ends)]
    assert sum(taken) == sum(lengths(features)) and max(taken) < 500 + max(lengths(features))
    assert len(taken) > 4  # first texts alone would fit into one


def test_batches_have_few_sizes(tmp_path: Path) -> None:
    """Kernels are kept for each shape met: odd rests in every shard would make memory grow with the corpus."""
    features = rows(61)
    with look_of(KEPT) as look:
        maker = maker_of(tmp_path, look, KEPT, features)
    (once,) = shards.parts(features, COLLATE, maker.form, 8, 99)
    (twice,) = shards.parts([*features, *features[::3]], COLLATE, maker.form, 8, 99)
    sizes = [len(batch["input_ids"]) for batch in once.batches]
    assert sizes == [len(batch["input_ids"]) for batch in twice.batches] == [8] * 7 + [4, 1]
    assert once.name("one") == twice.name("one") and twice.features == 82


def test_a_disk_without_room_is_said_before_the_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up takes every other job down too."""
    monkeypatch.setattr(shards, "SPARE", 1 << 60)
    features = rows(4)
    with look_of(KEPT) as look:
        maker = maker_of(tmp_path, look, KEPT, features)
        with pytest.raises(JobError, match="GB are free; make room, keep fewer layers"):
            maker.make(features, 4, "rows")
    assert contents(tmp_path) == {}


def test_a_task_that_draws_its_inputs_is_refused() -> None:
    """Masked-token guessing hides other tokens in every batch: nothing stored would ever be found."""
    features = [
        {**row, "special": [1, *[0] * (len(row["input_ids"]) - 1)], "mask_id": 4, "vocabulary": 50} for row in rows(8)
    ]
    with look_of(KEPT) as look, pytest.raises(InputError, match="hides other tokens in every batch"):
        probe(look, collator(Mask(), 0), features, KEPT)
    with look_of(KEPT) as look, pytest.raises(InputError, match="the split is empty"):
        probe(look, COLLATE, [], KEPT)


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    """An artifact of nothing would be found out by the step that reads it."""
    with look_of(KEPT) as look, pytest.raises(InputError, match="has no rows"):
        maker_of(tmp_path, look, KEPT, rows(2)).make([], 0, "signals of train")


def test_ranks_come_from_torchrun() -> None:
    """A process that takes itself for the only one makes everything twice."""
    assert Ranks.of({}) == Ranks(0, 1)
    assert Ranks.of({"RANK": "1", "WORLD_SIZE": "4"}) == Ranks(1, 4)
    for wrong in ({"RANK": "4", "WORLD_SIZE": "4"}, {"RANK": "a", "WORLD_SIZE": "2"}, {"RANK": "1"}):
        with pytest.raises(InputError, match="start the processes with torchrun"):
            Ranks.of(wrong)


def test_a_dead_process_is_not_waited_for(tmp_path: Path) -> None:
    """Waiting for a process that was killed hangs a job for ever; one that breathes is waited for."""
    with pytest.raises(JobError, match=r"no other process has worked .* whole shards are kept"):
        Ranks(0, 2).wait(tmp_path, lambda: False, "shards", patience=0.01)
    looks = itertools.count()
    Ranks(0, 2).wait(tmp_path, lambda: next(looks) > 1, "shards", patience=60)
