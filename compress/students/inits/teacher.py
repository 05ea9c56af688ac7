"""The teacher's own layers: `copy`, under the name that recipes of half-depth students use."""

from __future__ import annotations

from compress.students.inits.base import INITS
from compress.students.inits.copy import Copy


@INITS.register("teacher")
class Teacher(Copy):
    """The same as `copy`: embeddings, layers by the student's `map`, and head, as they are."""
