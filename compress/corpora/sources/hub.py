"""Data sets of the Hugging Face hub, or a folder that `datasets` saved."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import datasets
from datasets import Dataset, DatasetDict
from pydantic import Field

from compress.core.errors import Fault, InputError
from compress.corpora.sources.base import ALIASES, SOURCES, SPLITS, Source, by_split


@SOURCES.register("hub")
class Hub(Source):
    """A data set by hub name with a pinned revision, or a local folder (saved by `save_to_disk`, or of data files).

    Code that comes with a data set is never run.
    """

    name: str = Field(min_length=1, description="Hub name (stanfordnlp/sst2) or local folder")
    revision: str | None = Field(None, description="Commit of the hub repository; required for a hub name")
    config: str | None = Field(None, description="Configuration, when the data set has several")
    train: str | None = Field(None, description="The data set's name of the train split, when it is not `train`")
    dev: str | None = Field(None, description="Its name of the dev split, when it is not validation, valid, val or dev")
    test: str | None = Field(None, description="Its name of the test split, when it is not `test`")
    unlabeled: str | None = Field(None, description="Its name of a split without labels")

    def files(self) -> list[Path]:
        """The local folder, if it is one."""
        return [Path(self.name)] if self._local() else []

    def place(self, split: str) -> str:
        """Name and split."""
        return f"{self.name} ({split})"

    def preflight(self, columns: dict[str, str], spare: Collection[str] = ()) -> list[Fault]:
        """A hub name without a revision, or a local folder that is not there."""
        if self._local():
            return []
        if self.name.startswith((".", "/", "~")) or self.name.count("/") > 1:
            return [Fault("hub.name", f"{self.name}: no such folder (seen from {Path.cwd()})")]
        if self.revision is None:
            message = "is required for a hub name, so that the rows never change (the commit hash on the hub)"
            return [Fault("hub.revision", message)]
        return []

    def splits(self, seed: int, columns: Collection[str] | None = None) -> dict[str, Dataset]:
        """The splits that have a known name or were named."""
        loaded = self._load()
        asked = {split: getattr(self, split) for split in SPLITS if getattr(self, split) is not None}
        named = by_split(loaded, self.name, asked)
        for split, given in asked.items():
            if given not in loaded:
                raise InputError(f"{self.name}: no split {given!r} (it has: {', '.join(loaded)})")
            named[split] = given
        if "train" not in named:
            raise InputError(f"{self.name}: none of its splits ({', '.join(loaded)}) is called {ALIASES['train'][0]};"
                             " name it with `train:`")  # fmt: skip
        return {split: loaded[named[split]] for split in SPLITS if split in named}

    def _local(self) -> bool:
        return Path(self.name).is_dir()

    def _load(self) -> DatasetDict:
        datasets.disable_progress_bars()
        try:
            if self._local() and _saved(Path(self.name)):
                loaded = datasets.load_from_disk(self.name)
            else:
                revision = None if self._local() else self.revision
                loaded = datasets.load_dataset(self.name, self.config, revision=revision)
        except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
            reason = " ".join(str(error).split())[:300]
            raise InputError(f"{self.name}: cannot be loaded ({type(error).__name__}: {reason}); check the name, the "
                             "revision and the connection, or give a local folder") from error  # fmt: skip
        return loaded if isinstance(loaded, DatasetDict) else DatasetDict({"train": loaded})


def _saved(folder: Path) -> bool:
    return (folder / "dataset_dict.json").is_file() or (folder / "dataset_info.json").is_file()
