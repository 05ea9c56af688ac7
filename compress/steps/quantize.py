"""quantize: store a student's weights in int8, and show on dev what that costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from compress.core.errors import Fault
from compress.core.options import Choice, CorpusRef, ModelSource, aside
from compress.export.base import EXPORTERS
from compress.quantize.base import QUANTIZERS, FloatStudent, Quantizer
from compress.steps.base import STEPS, Context, Step
from compress.steps.forms import export_form, finish, local_folder, missing_folder, open_float

GOLDEN_FLOOR = 1e-2


@STEPS.register("quantize")
class Quantize(Step):
    """Quantize a float student; writes a Model.

    `measured.parity` holds the metric of both on the whole dev split, their difference with its 95 % interval, the
    share of equal answers, the largest difference of a logit and the KL divergence, each text run alone, and what
    batches change; `measured.size` the bytes of both.
    """

    kind: ClassVar[str] = "Model"
    seeded: ClassVar[bool] = False
    final: ClassVar[bool] = True
    version: ClassVar[int] = 2

    model: ModelSource = Field(description="the float student, a `distill` or `teach` step (or a model folder)")
    corpus: CorpusRef = Field(description="its corpus; the dev split shows what quantization costs")
    method: Annotated[Quantizer, Choice(QUANTIZERS)] = Field(description="how, `{onnx: {}}` for instance")
    max_drop: float = aside(1.0, "points of the dev metric that may be lost before a warning is given", ge=0)

    def files(self) -> list[Path]:
        """The model's folder when it is given by path."""
        return local_folder(self.model)

    def preflight(self) -> list[Fault]:
        """A model given by path that is not there."""
        return missing_folder(self.model)

    def run(self, context: Context) -> None:
        """Export when the method asks for it, quantize, compare with the float student, complete the folder."""
        opened = open_float(context, self.model, self.corpus)
        exported = None
        form = self.method.starts_from
        if form:
            with context.reporter.progress(f"export to {form}", None):
                export_form(opened, form, context.work / form)
            exported = context.work / form / EXPORTERS.get(form).file
        with context.reporter.progress(f"quantize for {self.method.engine}", None):
            student = FloatStudent(opened.loaded.model, opened.batches, exported)
            facts = self.method.quantize(student, context.out)
        compared = finish(context, opened, self.method.engine, facts, GOLDEN_FLOOR)
        lost = -100 * compared["difference"]
        if lost > self.max_drop:
            context.reporter.warn(
                f"{context.name}: int8 loses {lost:.2f} points of dev {compared['metric']} "
                f"({compared['float32']:.4f} to {compared['this']:.4f}), more than max_drop ({self.max_drop:g}); "
                f"try another method or its options"
            )
