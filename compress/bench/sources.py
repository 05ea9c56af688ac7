"""What a subject is: a folder (or hub snapshot), the engine that runs it, its files and number format.

A model may carry its engine behind an `@`, so that one folder can be measured in several ways: `runs/a/half`,
`runs/a/half@torch:bf16`, `runs/a/half@torch:compile`. What stands there comes before the engine that is given for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.core.errors import InputError
from compress.core.options import AT
from compress.runtime.engines.base import choose
from compress.runtime.engines.names import parse_engine
from compress.runtime.folder import read_folder

HUB_FILES = ("*.json", "*.safetensors", "*.onnx", "*.onnx.data", "openvino_model.*", "*.txt", "*.model")


@dataclass(frozen=True)
class Subject:
    """One model to measure. about: the facts of its manifest, or the same from config.json of a plain folder.

    engine: with its variant, as in `torch:bf16`.
    """

    name: str
    source: str
    folder: Path
    engine: str
    about: dict[str, Any]

    @property
    def dtype(self) -> str:
        """The number format that it computes with, as far as the folder and the variant tell."""
        return parse_engine(self.engine).dtype(str(self.form.get("dtype", "unknown")))

    @property
    def form(self) -> dict[str, Any]:
        """What the folder says of the form of this engine."""
        found: dict[str, Any] = self.about["engine"][parse_engine(self.engine).engine]
        return found

    @property
    def weights(self) -> list[Path]:
        """The files that hold the weights of this engine."""
        file = self.folder / str(self.form["file"])
        beside = file.with_suffix(".bin") if file.suffix == ".xml" else file.with_name(f"{file.name}.data")
        return [file, beside] if beside.is_file() else [file]


def subject(name: str, source: str, engine: str = "auto") -> Subject:
    """Look at a folder or hub name. Raises InputError for what cannot be measured, before anything is spent.

    engine: for a source that does not carry its own.
    """
    source, own = split_engine(source)
    folder = _folder(source)
    about = read_folder(folder).about
    return Subject(name, source, folder, choose(own or engine, about["engine"], folder), about)


def split_engine(source: str) -> tuple[str, str]:
    """`folder@torch:bf16` as folder and engine; the engine is empty when none is named.

    A folder that is there under the whole name is that folder. Raises InputError for an engine that is not known.
    """
    path, at, engine = source.rpartition(AT)
    if not at or not path or "/" in engine or Path(source).exists():
        return source, ""
    return path, str(parse_engine(engine))


def names_of(sources: Sequence[str]) -> list[str]:
    """A short name for each source that no other has: `$teacher` is teacher, a path its last folder.

    An engine that the source carries stays in its name: `half@torch:bf16`.
    """
    names: list[str] = []
    for source in sources:
        path, engine = split_engine(source)
        plain = path.removeprefix("$").rstrip("/")
        short = (plain.rsplit("/", 1)[-1] or plain) + (f"{AT}{engine}" if engine else "")
        numbered = (f"{short}-{number}" for number in range(2, len(sources) + 2))
        names.append(next(name for name in (short, *numbered) if name not in names))
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
