"""The prunable blocks of a model: its attentions with their heads, its feed-forwards with their neurons.

A block is named by the dotted names of its matrices from the model down, so that whoever scores, masks or cuts it need
not know the family. A block whose weights run several times (ALBERT) stands in the list once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel


@dataclass(frozen=True)
class AttentionBlock:
    """One attention: `query`, `key`, `value` give heads x head_width features, `output` reads them.

    name: the dotted name of `output`, which tells blocks apart. layer: from 1, counted over the stored layers.
    inputs: the dotted names of query, key and value; one name where one matrix holds all three side by side (fused).
    holder: the module that keeps the number of heads. together: blocks with one non-empty mark must keep the same
    heads, because something that is added to their scores is theirs in common (a table of relative positions).
    beside: other matrices whose output features are the heads' (DeBERTa's position projections). table: the embedding
    of relative positions `[buckets, heads]` that is added to the scores, the same for all blocks of one mark.
    """

    name: str
    layer: int
    inputs: tuple[str, ...]
    holder: str
    heads: int
    head_width: int
    together: str = ""
    beside: tuple[str, ...] = ()
    fused: bool = False
    table: str = ""

    @property
    def output(self) -> str:
        """Dotted name of the matrix that reads the heads."""
        return self.name


@dataclass(frozen=True)
class FfnBlock:
    """One feed-forward: the matrices `inputs` (two where one gates) give `neurons` features, `output` reads them.

    name: the dotted name of `output`. layer: from 1, counted over the stored layers.
    """

    name: str
    layer: int
    inputs: tuple[str, ...]
    neurons: int

    @property
    def output(self) -> str:
        """Dotted name of the matrix that reads the neurons."""
        return self.name


def names_of(model: PreTrainedModel) -> dict[nn.Module, str]:
    """Dotted name of every module, the first one for a module that is held twice."""
    return {module: name for name, module in reversed(list(model.named_modules()))}


def stored_layers(layers: Sequence[nn.Module]) -> list[nn.Module]:
    """Each layer once, in the order of its first run."""
    return list(dict.fromkeys(layers))


def features(matrix: nn.Module) -> tuple[int, int]:
    """Input and output features of a Linear, of GPT-2's Conv1D, or of whatever else calls them so."""
    inputs, outputs = ("nx", "nf") if hasattr(matrix, "nf") else ("in_features", "out_features")
    return int(getattr(matrix, inputs)), int(getattr(matrix, outputs))
