"""The store gives back what the teacher said, to the rounding that was asked for, and holds no padding."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from compress.core.errors import InputError, JobError
from compress.signals import shards
from compress.signals import store as store_module
from compress.signals.arrays import expanded, largest
from compress.signals.keep import Dtype, Keep
from compress.signals.mapped import Mapped
from compress.signals.shards import SUFFIX
from compress.signals.store import open_shards
from tests.models import tiny
from tests.signals.made import EVERYTHING, batch_of, keys_of, look_of, rows, store_of


@pytest.mark.parametrize(("dtype", "off"), [("fp32", 1e-6), ("fp16", 2.0**-10), ("bf16", 2.0**-7)])
def test_rows_come_back_as_the_teacher_said_them(dtype: Dtype, off: float, tmp_path: Path) -> None:
    """A transposed head, a wrong offset, a layer under another's name: each shows against the live trace."""
    features = rows(30)
    signals = store_of(tmp_path, features, dtype=dtype)
    kept = EVERYTHING.of(2, "fp32")
    names = ["logits", "embedding", "hidden.0", "hidden.2", "queries.2", "keys.2", "values.1"]
    with look_of(kept) as look:
        for feature in (features[3], features[29], features[0]):
            trace = look(batch_of([feature]))
            got = signals.read(signals.find(keys_of([feature])), names)
            assert trace.logits is not None and trace.embedding is not None and trace.hidden is not None
            assert trace.queries is not None and trace.keys is not None and trace.values is not None
            assert torch.allclose(got["logits"], trace.logits, atol=1e-6)
            assert torch.allclose(got["embedding"], trace.embedding, atol=1e-6)
            for name, live in (
                ("hidden.0", trace.hidden[0][0]),
                ("hidden.2", trace.hidden[2][0]),
                ("queries.2", trace.queries[2][0].transpose(0, 1)),
                ("keys.2", trace.keys[2][0].transpose(0, 1)),
                ("values.1", trace.values[1][0].transpose(0, 1)),
            ):
                assert got[name].shape == live.shape and got[name].dtype == torch.float32
                assert torch.allclose(got[name], live, rtol=off, atol=off), name


def test_a_store_holds_no_padding(tmp_path: Path) -> None:
    """Rows padded to the longest would make a store of SST-2 ten times as large."""
    features = rows(40)
    signals = store_of(tmp_path, features, Keep(hidden=[2]), "fp16")
    tokens = sum(len(row["input_ids"]) for row in features)
    held = sum(path.stat().st_size for path in tmp_path.glob(f"*{SUFFIX}") if not path.name.startswith("index"))
    needed = tokens * 16 * 2 + 40 * (3 * 4 + 16 + 8)
    assert needed < held < needed + 1000
    assert signals.facts.form.bytes_of(40, tokens) >= needed


def test_a_row_that_stands_twice_is_stored_once(tmp_path: Path) -> None:
    """Copies are common in real corpora and cost a forward pass each."""
    features = rows(5)
    signals = store_of(tmp_path, features * 3)
    assert len(signals) == 5
    assert (signals.find(keys_of(features * 3))[:, 0] == 0).all()


def test_pages_are_handed_back_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mapped pages that are kept grow to the size of the store; released ones must still give the same numbers."""
    features = rows(12)
    signals = store_of(tmp_path, features)
    places = signals.find(keys_of(features))
    before = signals.read(places, ["hidden.2"])["hidden.2"]
    monkeypatch.setattr(store_module, "TOUCHED", 1)
    monkeypatch.setattr(store_module, "OPEN", 1)
    released: list[int] = []
    for mapped in (signals._index.mapped, *signals._open.values()):
        monkeypatch.setattr(mapped, "release", lambda real=mapped.release: (released.append(1), real()))
    assert torch.equal(signals.read(places, ["hidden.2"])["hidden.2"], before)
    assert len(released) >= 2


def test_the_largest_logits_and_the_mass_of_the_rest(tmp_path: Path) -> None:
    """A store that drops the rest makes a student sure of what the teacher held for likely only."""
    features = rows(10)
    model = tiny("bert", layers=2, labels=9)
    signals = store_of(tmp_path, features, Keep(top=3), model=model)
    assert set(signals.facts.form.shapes) == {"top.values", "top.index", "top.rest"}
    with look_of(Keep().of(2, "fp32"), model) as look:
        live = look(batch_of([features[4]])).logits
    assert live is not None
    got = signals.read(signals.find(keys_of([features[4]])), ["logits"])["logits"]
    best = live.topk(3).indices
    assert got.shape == (1, 9)
    assert torch.allclose(got.softmax(-1).gather(-1, best), live.softmax(-1).gather(-1, best), atol=1e-6)
    rest = got.scatter(-1, best, -torch.inf).softmax(-1)
    assert torch.allclose(rest[rest > 0], torch.full((6,), 1 / 6), atol=1e-6)


def test_largest_by_hand() -> None:
    """log(e^0 + e^1) spread over two outputs is log((1 + e) / 2) each."""
    logits = torch.tensor([[0.0, 5.0, 1.0, 7.0]])
    values, index, rest = largest(logits, 2)
    assert values.tolist() == [[7.0, 5.0]] and index.tolist() == [[3, 1]]
    assert rest.item() == pytest.approx(1.3132617)
    even = 1.3132617 - 0.6931472
    assert expanded(values, index, rest, 4).tolist() == [pytest.approx([even, 5.0, even, 7.0])]
    with pytest.raises(InputError, match="leave `top` out"):
        largest(logits, 4)


def test_states_that_fp16_cannot_hold_are_refused(tmp_path: Path) -> None:
    """Infinity in a stored state becomes NaN in the student, hours later."""
    model = tiny("bert", layers=2)
    model.bert.encoder.layer[1].output.LayerNorm.weight.data.fill_(1e6)
    with pytest.raises(JobError, match=r"hidden\.2 of the teacher reaches .* more than fp16 holds"):
        store_of(tmp_path / "a", rows(4), Keep(hidden=[2]), "fp16", model)
    store_of(tmp_path / "b", rows(4), Keep(hidden=[2]), "bf16", model)


def test_a_teacher_that_gives_nan_is_refused_with_the_rows(tmp_path: Path) -> None:
    """NaN logits, stored once, would poison every student that is made of them."""
    model = tiny("bert", layers=2)
    features = rows(6)
    token = features[0]["input_ids"][0]
    alone = [row for row in features[1:] if token not in row["input_ids"]]
    model.bert.embeddings.word_embeddings.weight.data[token] = float("nan")
    with pytest.raises(JobError, match=r"NaN or infinite logits.*among rows"):
        store_of(tmp_path, [*alone, features[0]], Keep(), model=model)


def test_an_index_that_points_elsewhere_is_not_believed(tmp_path: Path) -> None:
    """A flipped bit there would give a text its neighbour's signals, and nothing would say so."""
    features = rows(6)
    signals = store_of(tmp_path, features)
    (path,) = tmp_path.glob(f"index-*{SUFFIX}")
    content = bytearray(path.read_bytes())
    content[-4] ^= 1  # the row of the last entry
    path.write_bytes(bytes(content))
    again = type(signals)(signals.folder, signals.names, path, signals.facts)
    with pytest.raises(InputError, match="points at a wrong row"):
        again.find(keys_of(features))


@pytest.mark.parametrize("damage", ["empty", "keys", "header", "note"])
def test_a_damaged_index_of_a_shared_folder_is_made_again(damage: str, tmp_path: Path) -> None:
    """Keys that no longer match find nothing: the teacher would be asked anew for every row, and nothing said so."""
    features = rows(6)
    signals = store_of(tmp_path, features)
    (path,) = tmp_path.glob(f"index-*{SUFFIX}")
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    spoilt = {
        "empty": b"",
        "keys": content[:start] + bytes(255 - one for one in content[start : start + 48]) + content[start + 48 :],
        "header": content[:8] + content[8:start].replace(b'"high"', b'"hihh"') + content[start:],
        "note": content,
    }
    path.write_bytes(spoilt[damage])
    if damage == "note":
        path.with_suffix(".sha256").unlink()
    again = open_shards(tmp_path, signals.names, signals.facts)
    assert path.read_bytes() == content and bool((again.find(keys_of(features)) >= 0).all())


def test_pages_are_handed_back_by_the_files_that_were_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call to the kernel for each of a thousand open shards, at every batch, took longer than the reading."""
    monkeypatch.setattr(shards, "ROWS", 5)
    released: list[Mapped] = []
    monkeypatch.setattr(Mapped, "release", lambda mapped: released.append(mapped))
    features = rows(40)
    signals = store_of(tmp_path, features)
    assert len(signals.names) == 8
    signals.find(keys_of(features))
    monkeypatch.setattr(store_module, "TOUCHED", 1)
    places = signals.find(keys_of(features[:3]))
    released.clear()
    signals.read(places, ["logits"])
    assert len(set(released)) == len(released) == len(set(places[:, 0].tolist())) < 4


@pytest.mark.parametrize(
    ("keep", "words"),
    [
        (Keep(logits=False), "nothing is kept"),
        (Keep(hidden=[3]), r"keep\.hidden: the teacher has no layer 3"),
        (Keep(attention=[0]), r"keep\.attention: the teacher has no layer 0 there; it has 1 to 2"),
        (Keep(logits=False, hidden="last", top=3), "`logits` is false"),
    ],
)
def test_what_cannot_be_kept_is_refused(keep: Keep, words: str) -> None:
    """A misspelt layer would be found out when the first loss asks for it, after the labelling is paid for."""
    with pytest.raises(InputError, match=words):
        keep.of(2, "fp16")


def test_all_and_last_mean_the_teachers_layers() -> None:
    """`all` of hidden states counts the embedding output, of attention it cannot."""
    wanted = Keep(hidden="all", attention="all", values="last").of(3, "fp16").wanted
    assert (sorted(wanted.hidden), sorted(wanted.attention), sorted(wanted.values)) == ([0, 1, 2, 3], [1, 2, 3], [3])
