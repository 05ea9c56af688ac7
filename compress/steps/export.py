"""export: the same float student in another format, proven equal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from compress.core.errors import Fault
from compress.core.options import Choice, CorpusRef, ModelSource
from compress.export.base import EXPORTERS, Exporter
from compress.steps.base import STEPS, Context, Step
from compress.steps.forms import finish, local_folder, missing_folder, open_float

GOLDEN_FLOOR = 1e-3


@STEPS.register("export")
class Export(Step):
    """Export a float student to another format; writes a Model. `measured.parity` compares both on dev."""

    kind: ClassVar[str] = "Model"
    seeded: ClassVar[bool] = False
    final: ClassVar[bool] = True

    model: ModelSource = Field(description="the float student, a `distill` or `teach` step (or a model folder)")
    corpus: CorpusRef = Field(description="its corpus; both forms are compared on the dev split")
    format: Annotated[Exporter, Choice(EXPORTERS)] = Field(description="the format, `{onnx: {}}` for instance")

    def files(self) -> list[Path]:
        """The model's folder when it is given by path."""
        return local_folder(self.model)

    def preflight(self) -> list[Fault]:
        """A model given by path that is not there."""
        return missing_folder(self.model)

    def run(self, context: Context) -> None:
        """Export, prove equal at several shapes, compare on dev, complete the folder."""
        opened = open_float(context, self.model, self.corpus)
        with context.reporter.progress(f"export to {self.format.registered_name}", None):
            facts = self.format.export(opened.one_output(), opened.batches, opened.longest, context.out)
        finish(context, opened, self.format.engine, facts, GOLDEN_FLOOR)
