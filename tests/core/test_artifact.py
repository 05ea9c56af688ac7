"""Artifacts: whole or absent, and every damage found."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from compress.core.artifact import MANIFEST, ArtifactWriter, is_unsafe, read_manifest, recover, verify, write_json
from compress.core.errors import InputError


def write(final: Path, text: str = "one", **manifest: Any) -> Path:
    writer = ArtifactWriter(final)
    out = writer.open()
    (out / "a.txt").write_text(text)
    (out / "deep").mkdir()
    (out / "deep" / "weights.safetensors").write_bytes(bytes(64))
    (out / "deep" / "weights.safetensors").chmod(0o600)
    return writer.commit({"kind": "Model", "key": "k", **manifest})


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_it_is_visible_only_when_whole(tmp_path: Path) -> None:
    """A folder with the final name but half its files would be taken for finished."""
    writer = ArtifactWriter(tmp_path / "student")
    (writer.open() / "a.txt").write_text("one")
    assert not (tmp_path / "student").exists()
    writer.commit({"kind": "Model"})
    assert listing(tmp_path) == ["student"]
    assert listing(tmp_path / "student") == ["a.txt", MANIFEST]


def test_files_are_readable_by_others(tmp_path: Path) -> None:
    """safetensors writes mode 0600 whatever the umask: another user's service could not load the student."""
    folder = write(tmp_path / "student")
    assert stat.S_IMODE((folder / "deep" / "weights.safetensors").stat().st_mode) == 0o644


def test_the_former_artifact_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    """A failing second run must not cost the first one's result."""
    folder = write(tmp_path / "student", "one")
    writer = ArtifactWriter(folder)
    (writer.open() / "a.txt").write_text("two")
    assert (folder / "a.txt").read_text() == "one"
    writer.abandon()
    assert listing(tmp_path) == ["student"]
    assert verify(folder)["key"] == "k"
    write(folder, "three")
    assert (folder / "a.txt").read_text() == "three"
    assert listing(tmp_path) == ["student"]


def test_a_crash_between_the_two_renames_is_recovered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the old folder is moved away and before the new one is in place there is no artifact at all."""
    folder = write(tmp_path / "student", "one")
    rename, calls = os.rename, []

    def crash_at_the_second(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr("compress.core.artifact.os.rename", crash_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        write(folder, "two")
    monkeypatch.undo()
    assert not folder.exists()
    recover(folder)
    assert (folder / "a.txt").read_text() == "one"
    verify(folder)
    write(folder, "two")
    assert listing(tmp_path) == ["student"]


def test_a_crash_after_the_second_rename_keeps_the_new_one(tmp_path: Path) -> None:
    """The old folder that a crash left aside must not come back over the new one."""
    folder = write(tmp_path / "student", "new")
    write(tmp_path / "old", "old").rename(tmp_path / ".old-student")
    recover(folder)
    assert (folder / "a.txt").read_text() == "new"
    assert listing(tmp_path) == ["student"]


def test_what_a_killed_run_left_is_not_mixed_in(tmp_path: Path) -> None:
    """A file of the killed run would be hashed into the new artifact."""
    ArtifactWriter(tmp_path / "student").open().joinpath("leftover.txt").write_text("x")
    folder = write(tmp_path / "student")
    assert "leftover.txt" not in read_manifest(folder)["files"]


@pytest.mark.parametrize("content", ["a file", "a folder"])
def test_somebodys_files_are_not_replaced(tmp_path: Path, content: str) -> None:
    """`--out ~` with a step called `documents` must not delete the documents."""
    place = tmp_path / "student"
    if content == "a file":
        place.write_text("mine")
    else:
        place.mkdir()
        (place / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="exists and is not an artifact"):
        write(place)
    assert listing(tmp_path) == ["student"]


def test_a_place_that_cannot_be_written_is_an_input_error(tmp_path: Path) -> None:
    """An OSError traceback does not say to choose another folder."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=r"cannot be written .*choose another folder with --out"):
        ArtifactWriter(tmp_path / "file" / "student").open()


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


DAMAGE: list[tuple[str, Any, str]] = [
    ("a flipped bit in a file", lambda f: flip(f / "deep/weights.safetensors"), "does not match its recorded SHA-256"),
    ("a truncated file", lambda f: truncate(f / "a.txt"), "2 bytes where the manifest says 3"),
    ("a missing file", lambda f: (f / "a.txt").unlink(), "missing, though the manifest lists it"),
    ("an added file", lambda f: (f / "b.txt").write_text("x"), "not listed in manifest.json"),
    ("a pickle", lambda f: (f / "pytorch_model.bin").write_bytes(b"\x80"), "a pickle where weights should be"),
    ("a hidden pickle", lambda f: (f / "deep/.x.pkl").write_bytes(b"\x80"), "a pickle where weights should be"),
    ("a truncated manifest", lambda f: truncate(f / MANIFEST) or truncate(f / MANIFEST), "damaged"),
    ("a changed number", lambda f: edit(f, "measured", {"accuracy": 1.0}), "does not match its own SHA-256"),
    ("a changed hash", lambda f: edit(f, "files", {}), "does not match its own SHA-256"),
    ("a list for a manifest", lambda f: (f / MANIFEST).write_text("[]"), "not a Stillroom manifest"),
    ("another JSON file", lambda f: (f / MANIFEST).write_text('{"files": []}'), "not a Stillroom manifest"),
    ("a later schema", lambda f: edit(f, "schema", 9), "has schema 9, this Stillroom reads 1"),
    ("bytes for a manifest", lambda f: (f / MANIFEST).write_bytes(b"\xff\xfe"), "damaged"),
    ("no manifest", lambda f: (f / MANIFEST).unlink(), "not an artifact"),
]


def edit(folder: Path, name: str, value: Any) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, name: value}))


@pytest.mark.parametrize(("damage", "words"), [row[1:] for row in DAMAGE], ids=[row[0] for row in DAMAGE])
def test_every_damage_is_found(tmp_path: Path, damage: Any, words: str) -> None:
    """safetensors loads a flipped bit silently; the manifest is what notices."""
    folder = write(tmp_path / "student", measured={"accuracy": 0.5})
    damage(folder)
    with pytest.raises(InputError, match=words) as caught:
        verify(folder)
    assert str(folder) in str(caught.value)


def test_every_single_bit_of_the_manifest_counts(tmp_path: Path) -> None:
    """The manifest holds the measured numbers; it is under a hash as well."""
    folder = write(tmp_path / "student", measured={"accuracy": 0.5})
    whole = (folder / MANIFEST).read_bytes()
    for place in range(0, len(whole) - 1, 7):
        (folder / MANIFEST).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        if json_or_none(folder) == json.loads(whole):
            continue  # a blank that became another blank
        with pytest.raises(InputError):
            verify(folder)


def json_or_none(folder: Path) -> Any:
    try:
        return json.loads((folder / MANIFEST).read_bytes())
    except ValueError:
        return None


def test_a_desktops_hidden_files_do_no_harm(tmp_path: Path) -> None:
    """`.DS_Store` appears by looking into a folder."""
    folder = write(tmp_path / "student")
    (folder / ".DS_Store").write_bytes(b"x")
    verify(folder)


def test_another_kind_is_refused(tmp_path: Path) -> None:
    """A corpus given where a model belongs must not fail deep inside transformers."""
    with pytest.raises(InputError, match="expected a Corpus, came a Model"):
        read_manifest(write(tmp_path / "student"), "Corpus")


def test_a_manifest_may_hold_tuples_and_whole_floats(tmp_path: Path) -> None:
    """What JSON changes on the way (tuples, 1.0) must not look like damage when it is read."""
    folder = write(tmp_path / "student", about={"shape": (1, 2), "rate": 1.0, "tiny": 5e-324}, measured={"1": None})
    assert verify(folder)["about"]["shape"] == [1, 2]


def test_nan_is_never_written(tmp_path: Path) -> None:
    """NaN in a JSON file breaks every strict reader."""
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"loss": float("nan")})


def test_the_weights_of_an_openvino_graph_are_no_pickle(tmp_path: Path) -> None:
    """`.bin` is how PyTorch names its pickles, and how OpenVINO names the weights beside its `.xml`."""
    writer = ArtifactWriter(tmp_path / "ir")
    out = writer.open()
    for name in ("openvino_model.xml", "openvino_model.bin"):
        (out / name).write_bytes(b"x")
    folder = writer.commit({"kind": "Model", "key": "k"})
    assert set(verify(folder)["files"]) == {"openvino_model.xml", "openvino_model.bin"}
    assert not is_unsafe(folder / "openvino_model.bin") and is_unsafe(folder / "pytorch_model.bin")
