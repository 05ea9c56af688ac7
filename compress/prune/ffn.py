"""`ffn`: neurons out of the feed-forward blocks."""

from __future__ import annotations

from typing import ClassVar

from compress.prune.base import PRUNERS
from compress.prune.masking import MaskPruner


@PRUNERS.register("ffn")
class Ffn(MaskPruner):
    """Neurons of the feed-forwards: rows of the first matrix, columns of the second.

    With the same number in every layer (`spread: uniform`) the result is a stock model; otherwise its shapes stand in
    config.json, and it opens through the Auto classes after `import compress`. At least `multiple` neurons stay in each
    layer.
    """

    kind: ClassVar[str] = "neurons"
    reads: ClassVar[frozenset[str]] = frozenset({"neurons"})
    paper: ClassVar[str] = "Kwon et al. 2022, arXiv 2204.09656"
