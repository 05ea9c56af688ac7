"""MiniLM: a BERT whose width and heads owe nothing to the teacher's (Wang et al. 2020, arXiv 2002.10957)."""

from __future__ import annotations

from pydantic import Field

from compress.students.base import STUDENTS
from compress.students.bert import BertStudent
from compress.students.inits.random import Random
from compress.students.shaped import Depth, InitChoice


@STUDENTS.register("minilm")
class MiniLmStudent(BertStudent):
    """The paper's 6 layers of width 384 with 12 heads; losses on relations compare it with a teacher of any width.

    As in the paper it starts at random: distil in two stages, the first on unlabelled text. `init: svd` starts it from
    the teacher's matrices.
    """

    layers: Depth = Field(6, description="number of layers; half of the teacher's (rounded up), or all")
    width: int | None = Field(384, ge=8, description="hidden size; null: the teacher's")
    heads: int | None = Field(12, ge=1, description="attention heads; null: as wide as the teacher's")
    ffn: int | None = Field(
        1536, ge=8, description="inner size of the feed-forward blocks; null: as many times the width as the teacher's"
    )
    init: InitChoice = Field(Random(), description="how weights start")
