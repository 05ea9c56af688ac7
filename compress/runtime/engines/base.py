"""What an engine is: opens a folder, runs padded batches; and how one is chosen and opened."""

from __future__ import annotations

import importlib
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compress.core.errors import InputError
from compress.runtime.engines.names import AUTO, ENGINES, EngineName, check_device, check_form, parse_engine


class Engine(ABC):
    """A loaded model. name: engine and variant, as `str(EngineName)`. dtype: the number format that it computes with.

    threads: how many it computes with.
    """

    name: str
    dtype: str
    threads: int

    @property
    def mixes_rows(self) -> bool:
        """Whether an output depends on the other rows of its batch.

        So it is with the int8 forms here: they are dynamic, one scale for the activations of a whole batch. On SST-2
        dev that cost a 3 x 384 student 0.4 points of accuracy in batches of 32, and nothing with each text alone.
        """
        return self.dtype == "int8"

    @classmethod
    @abstractmethod
    def open(
        cls, folder: Path, about: dict[str, Any], threads: int, device: str = "cpu", variants: Sequence[str] = ()
    ) -> Engine:
        """Load the form of this engine. about: the folder's facts. variants: checked names of ENGINES.

        Raises InputError for a form that is damaged, and for what this machine cannot do.
        """

    @classmethod  # noqa: B027
    def imports(cls, family: str, variants: Sequence[str] = ()) -> None:
        """Import what `open` would import only for a model of this family: nothing more, for most engines."""

    @abstractmethod
    def run(self, batch: dict[str, np.ndarray]) -> np.ndarray:
        """Logits `[b, c]` or `[b, s, c]`, float32, of int64 ids and masks `[b, s]`."""

    @abstractmethod
    def hidden(self, batch: dict[str, np.ndarray]) -> np.ndarray:
        """The last layer's states `[b, s, d]`, float32. Raises InputError when the form does not give them."""


def choose(wanted: str, carried: dict[str, Any], folder: Path) -> str:
    """The engine as it was named, or for `auto` the fastest that the folder carries and that is installed.

    Raises InputError for an unknown engine or variant, one that the folder has no form for, and a missing package.
    """
    asked = parse_engine(wanted)
    if asked.engine != AUTO and asked.engine not in carried:
        raise InputError(
            f"{folder}: has no form for the engine {asked.engine} (it has {', '.join(carried)}); use engine=auto"
        )
    names = [name for name in ENGINES if name in carried] if asked.engine == AUTO else [asked.engine]
    for name in names:
        check_form(asked, carried[name], folder)
        if importlib.util.find_spec(ENGINES[name].package) is not None:
            return str(EngineName(name, asked.variants))
    lines = " or ".join(ENGINES[name].install for name in names)
    if not lines:
        raise InputError(f"{folder}: holds a form for {', '.join(carried)}, which this version cannot run")
    raise InputError(f"{folder}: needs the engine {' or '.join(names)}, which is not installed; run: {lines}")


def open_engine(wanted: str, folder: Path, about: dict[str, Any], threads: int, device: str) -> Engine:
    """Import one engine and open the folder with it; no other engine is imported."""
    asked = parse_engine(wanted)
    check_form(asked, about["engine"][asked.engine], folder)
    check_device(asked, device)
    engine = engine_class(asked).open(folder, about, threads, device, asked.variants)
    engine.name = str(asked)
    return engine


def import_engine(wanted: str, family: str) -> None:
    """Import all that an engine needs for a model of this family, so that opening one imports nothing more."""
    asked = parse_engine(wanted)
    engine_class(asked).imports(family, asked.variants)


def engine_class(asked: EngineName) -> type[Engine]:
    """The class of one engine. Raises InputError with the pip line when its package cannot be imported."""
    entry = ENGINES[asked.engine]
    try:
        module = importlib.import_module(entry.module)
    except ImportError as error:
        raise InputError(f"the engine {asked.engine} cannot be imported ({error}); run: {entry.install}") from error
    found: type[Engine] = module.ENGINE
    return found
