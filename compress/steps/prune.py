"""prune: take heads, neurons, layers, width, tokens or weights out of a float model, and prove what is left."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, field_validator, model_validator
from torch import nn

from compress.core.errors import Fault
from compress.core.options import Choice, CorpusRef, ModelSource
from compress.distill.distillation import Distillation
from compress.importance.base import IMPORTANCES, Evidence, Importance
from compress.importance.movement import stored_scores
from compress.prune.api import MOVED, Pruned, check, prune_model, unread
from compress.prune.base import PRUNERS, Pruner, Spread, Tune
from compress.prune.coverage import coverage
from compress.prune.target import Target
from compress.prune.words import in_words
from compress.runtime.engines.names import ENGINES
from compress.steps.base import STEPS, Context, Step
from compress.steps.compare import Opened
from compress.steps.forms import local_folder, missing_folder, open_float, untrained_parts
from compress.steps.timing import BenchTimer
from compress.tasks.features import encode_rows
from compress.train.facts import parameters
from compress.train.folder import save_student
from compress.train.options import TrainOptions
from compress.train.source import WEIGHTS

BATCH = 32
GOLDEN = 8
TEXTS = ("text", "text_pair", "question", "context")


@STEPS.register("prune")
class Prune(Step):
    """Make a float model smaller, without training; writes a Model.

    Pruners act from coarse to fine, whatever the order in `what`: vocab, depth, width, then heads and ffn together,
    then weights. A schedule is a chain of these steps with `distill` steps between them, each of which recovers
    (`student: {checkpoint: {name: $small}}`). The result is proven equal to the original under masks (with `tune:
    outputs`, to the original with the fitted matrices), and the saved folder to the result.
    `measured` holds the dev metric, the parameters and the bytes of the weights before and after, for a vocabulary the
    share of dev that is read otherwise or unknown; `about.pruned` what was kept, and the proof.
    """

    kind: ClassVar[str] = "Model"
    version: ClassVar[int] = 7

    model: ModelSource = Field(description="the float model, a `teach`, `distill` or `prune` step (or a model folder)")
    corpus: CorpusRef = Field(description="its corpus: texts for the criterion, and the dev split")
    what: list[Annotated[Pruner, Choice(PRUNERS)]] = Field(
        min_length=1, description="what goes, each with its `ratio`, or without where `target` decides",
        examples=[[{"heads": {"ratio": 0.5}}, {"ffn": {"ratio": 0.5}}]],
    )  # fmt: skip
    by: Annotated[Importance, Choice(IMPORTANCES)] = Field(
        "fisher", validate_default=True, description="by what parts are ranked; layers by `similarity` if it cannot"
    )
    tune: Literal["masks", "outputs", True, False] = Field(
        False, description="make up for what goes, without training: masks (or true): scale what stays (Kwon et al. "
        "2022); outputs: fit its output matrices anew, which keeps more from some hundred texts on",
    )  # fmt: skip
    spread: Spread = Field(
        "global", description="global: layers may keep different numbers; uniform: the same in every layer"
    )
    multiple: int = Field(8, ge=1, description="features that a layer keeps are a multiple of it")
    samples: int = Field(2048, ge=1, description="training rows that the criterion and the tuning look at")
    target: Target | None = Field(None, description="decides how much of heads and ffn goes, where they have no ratio")
    of: ModelSource | None = Field(
        None, description="the model that shares and speed-ups of `target` are relative to; null: `model`"
    )
    seed: int | None = Field(None, ge=0, lt=2**32, description="null: the recipe's seed")

    @field_validator("tune")
    @classmethod
    def _by_name(cls, value: Tune | bool) -> Tune | bool:
        """One name for one thing, in the step's key, too."""
        return "masks" if value is True else value

    @model_validator(mode="after")
    def _can_be_asked(self) -> Prune:
        faults = check(self.what, self.by, self.tune, self.target)
        faults += unread(self.what, self.by, self.model_fields_set)
        if self.of is not None and self.target is None:
            faults.append("of: is what a `target` is relative to, and there is none; leave it out")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def files(self) -> list[Path]:
        """Folders of models that are given by path, and the files of pruners."""
        models = [folder for name in (self.model, self.of) if name for folder in local_folder(name)]
        return [*models, *(path for pruner in self.what for path in pruner.files())]

    def preflight(self) -> list[Fault]:
        """Models and files that are not there, an engine that is not installed."""
        faults = missing_folder(self.model)
        faults += [Fault("of", fault.message) for fault in missing_folder(self.of)] if self.of else []
        if self.target is not None and self.target.timed:
            entry = ENGINES[self.target.engine]
            if importlib.util.find_spec(entry.package) is None:
                faults.append(Fault("target.engine", f"needs the package {entry.package}; run: {entry.install}"))
        for index, pruner in enumerate(self.what):
            place = f"what[{index}].{pruner.registered_name}"
            faults += [Fault(f"{place}.{fault.path}", fault.message) for fault in pruner.preflight()]
        return faults

    def misuse(self, option: str, source: Step) -> str:
        """Movement, of a model that was not trained with gates, which leave its scores."""
        if option != "model" or self.by.registered_name != "movement" or getattr(source, "gates", None) is not None:
            return ""
        if not any(pruner.ranked_by() & self.by.parts for pruner in self.what):
            return ""
        return (
            "has no scores for `by: movement`, which a distillation with gates leaves; prune what that gives "
            "(`distill: {gates: {movement: {heads: 0.5, ffn: 0.5}}, ...}`), or prune by another criterion"
        )

    def shaped_by(self) -> str:
        """The model that it prunes, whose kinds of matrices it leaves as they are."""
        return self.model

    def objection(self, option: str, source: Step) -> str:
        """A model whose matrices are products of two, or whose weights were pruned: no head or neuron can be cut."""
        if option != "model":
            return ""
        method = getattr(getattr(source, "method", None), "registered_name", "")
        cuts = [pruner.registered_name for pruner in self.what if pruner.ranked_by() - {"layers"}]
        moving = [pruner.registered_name for pruner in self.what if pruner.reads & MOVED]
        if moving and isinstance(source, Prune) and any("weights" in pruner.reads for pruner in source.what):
            return (
                f"its single weights are pruned, and {' and '.join(moving)} would break their zeros; let `weights` "
                f"come last"
            )
        if (source.registered_name, method) != ("factorize", "low_rank") or not cuts:
            return ""
        return (
            f"low_rank has made products of two thin matrices, and criteria for {' and '.join(cuts)} read the "
            f"weights of whole ones; let `prune` come before `factorize: low_rank`"
        )

    def run(self, context: Context) -> None:
        """Open, score, prune, score again, save."""
        opened = open_float(context, self.model, self.corpus, untrained=True)
        reference = opened if self.of is None else open_float(context, self.of, self.corpus, untrained=True)
        trained = not untrained_parts(opened.loaded, opened.task)
        scored = trained and opened.task.scorable
        before = self._scores(opened, opened.loaded.model, opened.loaded.tokenizer, context) if scored else {}
        timer = None
        if self.target is not None and self.target.timed:
            timer = BenchTimer(self.target, opened, reference, context.work, context.reporter, context.seed)
        pruned = prune_model(
            opened.loaded.model, opened.loaded.tokenizer, self.what, self.by,
            evidence=lambda tokenizer: self._evidence(opened, tokenizer, context, trained),
            texts=lambda: texts_of(opened, "train", "unlabeled"),
            spread=self.spread, multiple=self.multiple, tune=self.tune, target=self.target,
            reference=parameters(reference.loaded.model)["total"], timer=timer, reporter=context.reporter,
        )  # fmt: skip
        after = self._scores(opened, pruned.model, pruned.tokenizer, context) if scored else {}
        about = save_student(
            pruned.model, pruned.tokenizer, context.out, task=opened.corpus.task, labels=opened.corpus.labels,
            max_length=opened.about["max_length"], golden_rows=opened.corpus.texts("dev")[:GOLDEN],
        )  # fmt: skip
        context.about.update(about, trained_head=trained, pruned=pruned.facts, left=in_words(pruned.facts))
        size = {"before": weight_bytes(opened.source), "after": weight_bytes(context.out)}
        context.measured.update(after, **measured(opened, reference, pruned, before, after), size=size)
        context.reporter.note(told(context.name, opened, pruned, context.measured))

    def _scores(self, opened: Opened, model: Any, tokenizer: Any, context: Context) -> dict[str, Any]:
        """The task's metrics on dev (and test)."""
        work = self._work(opened, tokenizer, context)
        splits = [split for split in ("dev", "test") if opened.corpus.has(split)]
        found = {split: work.score(model, split)[0] for split in splits}
        nn.Module.to(model, "cpu")
        return found

    def _work(self, opened: Opened, tokenizer: Any, context: Context) -> Distillation:
        length = int(opened.about["max_length"])
        return Distillation(opened.task, opened.corpus, tokenizer, length, TrainOptions(), context.reporter)

    def _evidence(self, opened: Opened, tokenizer: Any, context: Context, trained: bool) -> Evidence:
        """Batches of randomly chosen training rows of similar length, labelled."""
        rows = opened.corpus.split("train")
        draw = torch.Generator().manual_seed(context.seed)
        chosen = torch.randperm(len(rows), generator=draw)[: self.samples].sort().values.tolist()
        texts, longest = rows.select(chosen).to_list(), int(opened.about["max_length"])
        features = sorted(encode_rows(opened.task, tokenizer, texts, longest), key=lambda row: len(row["input_ids"]))
        work = self._work(opened, tokenizer, context)
        batches = [work.collate(features[at : at + BATCH], draw) for at in range(0, len(features), BATCH)]
        stored = stored_scores(Path(context.source(self.model)))
        return Evidence(batches, work.supervised if trained else None, context.seed, stored)


def texts_of(opened: Opened, *splits: str) -> Iterator[Sequence[str]]:
    """The fields of every row of these splits, where the corpus has them; words that come apart are fields each."""
    for split in splits:
        if opened.corpus.has(split):
            for row in opened.corpus.texts(split):
                fields = [row[name] for name in TEXTS if row.get(name) is not None]
                yield [*fields, *row.get("tokens", [])]


def measured(
    opened: Opened, reference: Opened, pruned: Pruned, before: dict[str, Any], after: dict[str, Any]
) -> dict[str, Any]:
    """Parameters by part, of the model, of the reference and of the result; the scores before, and the share kept.

    coverage: what a cut vocabulary does to dev.
    """
    counts = {"before": parameters(opened.loaded.model), "after": parameters(pruned.model)}
    if reference is not opened:
        counts["reference"] = parameters(reference.loaded.model)
    found: dict[str, Any] = {"parameters": counts}
    if pruned.tokenizer is not opened.loaded.tokenizer:
        rows = list(texts_of(opened, "dev"))
        found["coverage"] = coverage(opened.loaded.tokenizer, pruned.tokenizer, rows)
    if before:
        metric = opened.task.metric
        found |= {"before": before, "retained": _share(after["dev"][metric], before["dev"][metric])}
    return found


def weight_bytes(folder: Path) -> int:
    """Bytes of a model's weights: its file, or the shards of it; what else a folder holds (scores) does not count."""
    whole = folder / WEIGHTS
    return sum(path.stat().st_size for path in ([whole] if whole.is_file() else folder.glob("model-*.safetensors")))


def _share(mine: float, theirs: float) -> float | None:
    return mine / theirs if theirs > 0 else None


def told(name: str, opened: Opened, pruned: Pruned, measured: dict[str, Any]) -> str:
    """One line on what came out."""
    sizes = [measured["parameters"][when]["total"] for when in ("before", "after")]
    text = f"{name}: {sizes[0]:,} to {sizes[1]:,} parameters ({sizes[1] / sizes[0]:.0%})"
    if "before" in measured:
        metric = opened.task.metric
        scores = [measured["before"]["dev"][metric], measured["dev"][metric]]
        text += f", dev {metric} {scores[0]:.4f} to {scores[1]:.4f} before any recovery"
    left = in_words(pruned.facts)
    return f"{text}; left: {left}" if left else text
