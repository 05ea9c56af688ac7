"""The first layers of the teacher."""

from __future__ import annotations

from typing import ClassVar

from compress.core.layer_maps import LayerMap
from compress.students.inits.base import INITS
from compress.students.inits.copy import Copy


@INITS.register("first")
class First(Copy):
    """As `copy`, with the teacher's first layers whatever the student's `map` says (Sun et al. 2019, arXiv 1908.09355).

    Lower layers know more of words and syntax and less of the teacher's task.
    """

    layers: ClassVar[LayerMap | None] = "first"
