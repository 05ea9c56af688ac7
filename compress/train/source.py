"""What can be said of a model folder before transformers is asked: each fault with its remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from compress.core.artifact import MANIFEST, is_unsafe, read_manifest, verify
from compress.core.errors import InputError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model")
_PICKLE_STARTS = (b"\x80", b"PK\x03\x04")
_NOT_WEIGHTS = ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth")


def is_folder(source: str) -> bool:
    """Whether `source` names a local folder rather than a hub model. Raises InputError for a path that is none."""
    if not source.strip():
        raise InputError("the model: came an empty text; give a model folder or a hub name")
    path = Path(source)
    if path.is_dir():
        return True
    if path.exists():
        raise InputError(f"{source}: expected a model folder, came a file; give the folder that holds config.json")
    if path.is_absolute() or source.startswith((".", "~")) or source.count("/") > 1:
        raise InputError(f"{source}: no such folder; give a model folder or a hub name")
    return False


def check_folder(folder: Path) -> dict[str, Any]:
    """The `about` of a Stillroom artifact (its hashes checked), or {} for another checkpoint that looks sound.

    Raises InputError for a missing or broken config.json, for weights that are missing, truncated or pickled, and for
    an artifact that was changed.
    """
    about: dict[str, Any] = {}
    if (folder / MANIFEST).is_file():
        manifest = read_manifest(folder, "Model")
        refuse_pickle(folder)
        verify(folder, "Model")
        about = dict(manifest.get("about", {}))
        if about.get("engine") and "torch" not in about["engine"]:
            held = ", ".join(about["engine"])
            raise InputError(f"{folder}: holds a model for {held}, not torch weights; give the float student's folder")
    read_config(folder)
    _check_weights(folder)
    if not any((folder / name).is_file() for name in _VOCABULARIES):
        # transformers 5 would make a tokenizer of five special tokens out of nothing.
        raise InputError(f"{folder}: has no tokenizer ({', '.join(_VOCABULARIES)}); save it into the folder too")
    return about


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a model folder. Raises InputError when it is absent, broken or names no architecture."""
    path = folder / "config.json"
    if not path.is_file():
        raise InputError(
            f"{folder}: not a model folder (it has no config.json); give a folder saved by save_pretrained"
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as JSON ({error}); copy the folder again") from error
    if not isinstance(config, dict) or not config.get("model_type"):
        raise InputError(f"{path}: names no model_type, so the architecture is unknown; use a transformers checkpoint")
    return config


def refuse_pickle(folder: Path) -> None:
    """Raises InputError when a folder has pickled weights and no safetensors."""
    pickles = [path for path in sorted(folder.iterdir()) if is_unsafe(path) and path.name not in _NOT_WEIGHTS]
    if pickles and not (folder / WEIGHTS).is_file() and not (folder / INDEX).is_file():
        raise InputError(
            f"{pickles[0]}: a pickle where weights should be; it is never loaded, since loading one can run any code. "
            f"Convert it to {WEIGHTS} (save_pretrained writes it) on a machine that trusts the file"
        )


def _check_weights(folder: Path) -> None:
    refuse_pickle(folder)
    for path in _weight_files(folder):
        try:
            with safe_open(path, framework="pt") as held:
                names = held.keys()
        except (SafetensorError, OSError) as error:
            with path.open("rb") as stream:
                start = stream.read(4)
            if start.startswith(_PICKLE_STARTS):
                raise InputError(f"{path}: a pickle under the name of safetensors; it is never loaded") from error
            raise InputError(f"{path}: truncated or damaged ({error}); copy the folder again") from error
        if not list(names):
            raise InputError(f"{path}: holds no weights; copy the folder again")


def _weight_files(folder: Path) -> list[Path]:
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / INDEX).is_file():
        raise InputError(f"{folder}: has no {WEIGHTS}; save the model with save_pretrained (safetensors)")
    try:
        names = sorted(set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise InputError(f"{folder / INDEX}: not a safetensors index ({error}); copy the folder again") from error
    for name in names:
        if not (folder / name).is_file():
            raise InputError(f"{folder / name}: missing, though {INDEX} lists it; copy the folder again")
    return [folder / name for name in names]
