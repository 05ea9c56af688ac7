"""What a subject is: a folder (or hub snapshot), the engine that runs it, its files and number format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.core.errors import InputError
from compress.runtime.engines.base import choose
from compress.runtime.folder import read_folder

HUB_FILES = ("*.json", "*.safetensors", "*.onnx", "*.onnx.data", "*.txt", "*.model")


@dataclass(frozen=True)
class Subject:
    """One model to measure. about: the facts of its manifest, or the same from config.json of a plain folder."""

    name: str
    source: str
    folder: Path
    engine: str
    about: dict[str, Any]

    @property
    def dtype(self) -> str:
        """The number format of its weights, as far as the folder tells."""
        return str(self.about["engine"][self.engine].get("dtype", "unknown"))

    @property
    def weights(self) -> list[Path]:
        """The files that hold the weights of this engine."""
        file = self.folder / str(self.about["engine"][self.engine]["file"])
        beside = file.with_name(f"{file.name}.data")
        return [file, beside] if beside.is_file() else [file]


def subject(name: str, source: str, engine: str = "auto") -> Subject:
    """Look at a folder or hub name. Raises InputError for what cannot be measured, before anything is spent."""
    folder = _folder(source)
    about = read_folder(folder).about
    return Subject(name, source, folder, choose(engine, about["engine"], folder), about)


def names_of(sources: Sequence[str]) -> list[str]:
    """A short name for each source that no other has: `$teacher` is teacher, a path its last folder."""
    names: list[str] = []
    for source in sources:
        plain = source.removeprefix("$").rstrip("/")
        short = plain.rsplit("/", 1)[-1] or plain
        count = sum(name == short or name.startswith(f"{short}-") for name in names)
        names.append(f"{short}-{count + 1}" if short in names else short)
    return names


def _folder(source: str) -> Path:
    path = Path(source)
    if path.is_dir():
        return path
    if path.exists() or source.startswith((".", "/", "~")) or source.count("/") > 1:
        raise InputError(f"{source}: no such folder; give a saved model's folder, a $step or a hub name")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(source, allow_patterns=list(HUB_FILES)))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{source}: neither a folder nor a model that the hub gives ({reason})") from error
