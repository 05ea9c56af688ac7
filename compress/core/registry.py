"""Catalogues: the methods that a recipe can name.

A method registers itself under a name (`@LOSSES.register("hidden_mse")`). A catalogue imports the modules of its
packages the first time it is asked, and reads the entry points `stillroom.<plural>` so that another distribution can
add a method. Recipes name registered names only, never import paths.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
from collections.abc import Callable
from typing import Generic, TypeVar

from compress.core.errors import InputError, did_you_mean
from compress.core.options import Options

M = TypeVar("M", bound=Options)
N = TypeVar("N", bound=Options)

CATALOGUES: dict[str, Catalogue[Options]] = {}


class Catalogue(Generic[M]):
    """Names of one kind of method (`kind="loss"`), found in `packages` and in entry points."""

    def __init__(self, kind: str, plural: str, packages: tuple[str, ...]) -> None:
        self.kind = kind
        self.plural = plural
        self.packages = packages
        self._methods: dict[str, type[M]] = {}
        self._loaded = False
        CATALOGUES[kind] = self  # type: ignore[assignment]

    def register(self, name: str) -> Callable[[type[N]], type[N]]:
        """Class decorator that puts an options class under `name`. Raises ValueError when the name is taken."""

        def put(method: type[N]) -> type[N]:
            known = self._methods.get(name)
            if known is not None and (known.__module__, known.__qualname__) != (method.__module__, method.__qualname__):
                raise ValueError(f"the {self.kind} {name!r} is registered twice: {known} and {method}")
            method.registered_name = name
            self._methods[name] = method  # type: ignore[assignment]
            return method

        return put

    def names(self) -> list[str]:
        """Every registered name, sorted."""
        self._load()
        return sorted(self._methods)

    def get(self, name: str) -> type[M]:
        """The method of that name. Raises InputError with the nearest name when there is none."""
        self._load()
        method = self._methods.get(name)
        if method is None:
            hint = did_you_mean(name, self._methods)
            known = ", ".join(sorted(self._methods))
            raise InputError(f"{name!r} is not a known {self.kind}{hint} (known: {known})")
        return method

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        for package_name in self.packages:
            package = importlib.import_module(package_name)
            for module in pkgutil.iter_modules(package.__path__, f"{package_name}."):
                importlib.import_module(module.name)
        for entry in importlib.metadata.entry_points(group=f"stillroom.{self.plural}"):
            entry.load()


def catalogue(kind: str) -> Catalogue[Options]:
    """The catalogue of one kind (`"loss"`). Raises InputError when there is no such kind."""
    if kind not in CATALOGUES:
        hint = did_you_mean(kind, CATALOGUES)
        raise InputError(f"{kind!r} is not a kind of method{hint} (known: {', '.join(sorted(CATALOGUES))})")
    return CATALOGUES[kind]
