"""`heads`: whole attention heads out of every layer."""

from __future__ import annotations

from typing import ClassVar

from compress.prune.base import PRUNERS
from compress.prune.masking import MaskPruner


@PRUNERS.register("heads")
class Heads(MaskPruner):
    """Attention heads, with their rows of query, key and value and their columns of the output matrix.

    The width of a head stays, so that stock classes, which take width / heads for it, cannot hold the result: its
    shapes stand in config.json, and it opens through the Auto classes after `import compress`. At least one head stays
    in each layer. Where layers share a table of relative positions (MPNet, T5) all keep the same heads.
    """

    kind: ClassVar[str] = "heads"
    reads: ClassVar[frozenset[str]] = frozenset({"heads"})
    paper: ClassVar[str] = "Michel, Levy, Neubig 2019, arXiv 1905.10650"
