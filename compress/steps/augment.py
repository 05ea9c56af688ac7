"""augment: new unlabelled texts from the training texts of a corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from compress.core.artifact import read_manifest
from compress.core.errors import Fault, InputError
from compress.core.options import Choice, CorpusRef
from compress.corpora.augment.base import AUGMENTERS, Augmenter
from compress.corpora.augment.rows import Generated, Pair, Row, Seen, generate, text_columns
from compress.corpora.checks import text_facts
from compress.corpora.corpus import Corpus, write_splits
from compress.steps.base import STEPS, Context, Step
from compress.steps.keep import Judge, Keep
from compress.steps.proposer import ModelProposer
from compress.tasks.base import TASKS, Task


@STEPS.register("augment")
class Augment(Step):
    """Write a corpus again with generated texts among its unlabelled rows, for a teacher to judge.

    What a changed text means is unknown, so generated rows carry no label: `distill` takes the teacher's word for
    them. Train, dev and test stay as they are (but for `keep: {labels: true}`, which adds rows to train). Texts come
    from train alone, each once, and none equals a text of dev or test. A verb of its own and no option of `prepare`,
    since methods and filters may ask a teacher, which is trained on what `prepare` writes.
    """

    kind: ClassVar[str] = "Corpus"

    corpus: CorpusRef = Field(description="the corpus whose train rows are rewritten")
    methods: list[Annotated[Augmenter, Choice(AUGMENTERS)]] = Field(
        min_length=1, description="how, one after the other; each sees the training texts, not what another made"
    )
    copies: int = Field(4, ge=1, le=1000, description="new texts of each row by each method, before duplicates go")
    pair: Pair = Field(
        "cycle", description="which text of a pair is rewritten; cycle: first, second, both in turn, copy by copy"
    )
    keep: Keep | None = Field(None, description="a teacher that filters or labels the new texts; null: all are kept")
    seed: int | None = Field(None, ge=0, lt=2**32, description="null: the recipe's seed")

    def _models(self) -> dict[str, str]:
        """Place in the options to the model that is named there."""
        named = {f"methods[{n}].{m.registered_name}": m.source() or "" for n, m in enumerate(self.methods)}
        named["keep.teacher"] = self.keep.teacher if self.keep else ""
        return {place: name for place, name in named.items() if name and not name.startswith("$")}

    def files(self) -> list[Path]:
        """The folders of models that are given by path, and files of word vectors."""
        folders = [Path(name) for name in self._models().values() if Path(name).is_dir()]
        return [*folders, *(path for method in self.methods for path in method.files())]

    def preflight(self) -> list[Fault]:
        """A model or a file that is given by path and is not there."""
        faults = []
        for place, name in self._models().items():
            looks_local = name.startswith((".", "/", "~")) or name.count("/") > 1
            if looks_local and not Path(name).is_dir():
                faults.append(Fault(place, f"{name}: no such folder; give a model folder, a hub name or a $step"))
        for index, method in enumerate(self.methods):
            place = f"methods[{index}].{method.registered_name}"
            faults += [Fault(place, f"{path}: no such file") for path in method.files() if not path.is_file()]
        return faults

    def run(self, context: Context) -> None:
        """Generate, drop what is known or unsure, write the corpus."""
        folder = context.folder(self.corpus)
        corpus = Corpus.open(folder)
        task = Choice(TASKS).parse(corpus.task)
        assert isinstance(task, Task)
        splits = {split: corpus.texts(split) for split in corpus.rows}
        columns = _columns(task, splits["train"])
        judge = None
        if self.keep is not None:
            judge = Judge(self.keep, context.source(self.keep.teacher), corpus, task, context.reporter)
        found = self._generate(context, splits, columns, judge)
        new = [row for made in found.values() for row in made.rows]
        into = "train" if self.keep is not None and self.keep.labels else "unlabeled"
        splits[into] = [*splits.get(into, []), *new]
        about = dict(read_manifest(folder, "Corpus")["about"])
        about.update(rows=write_splits(context.out, splits), checks=text_facts(splits))
        about["augmented"] = {
            "into": into,
            "examples": {
                name: [{"from": before, "to": after} for before, after in made.examples] for name, made in found.items()
            },
        }
        context.about.update(about)
        context.measured["augmented"] = {name: made.counts() for name, made in found.items()}

    def _generate(
        self, context: Context, splits: dict[str, list[Row]], columns: list[str], judge: Judge | None
    ) -> dict[str, Generated]:
        seen = Seen(splits)
        found: dict[str, Generated] = {}
        for index, method in enumerate(self.methods):
            name = method.registered_name
            label = name if name not in found else f"{name}#{index + 1}"
            source = method.source()
            proposer = ModelProposer(context.source(source), fills=method.asks == "fills") if source else None
            with context.reporter.progress(f"augment: {label}", len(splits["train"])) as bar:
                made = generate(
                    splits["train"], method, seen, columns=columns, copies=self.copies, pair=self.pair,
                    seed=f"{context.seed} {index}", proposer=proposer, done=bar.advance,
                )  # fmt: skip
            _refuse_nothing(made, label)
            if judge is not None:
                _judged(made, judge, label)
            found[label] = made
            context.reporter.note(f"{context.name}: {label} gave {len(made.rows)} new texts of {made.made}")
        return found


def _columns(task: Task, rows: list[Row]) -> list[str]:
    """The text columns. Raises InputError for a task whose rows cannot be augmented."""
    if task.output == "vocabulary":
        raise InputError(
            f"a corpus of the task {task.registered_name} cannot be augmented: its text is its own label, and a "
            f"student would learn to write what was made up. Augment the labelled corpus of the task stage"
        )
    return text_columns(rows[0], task.registered_name)


def _refuse_nothing(made: Generated, label: str) -> None:
    """Raises InputError when a method gave no new text, with what became of those that it made."""
    if made.rows:
        return
    if not made.made:
        why = "it could change no text: texts of one word, or words without spaces between them?"
    else:
        why = (
            f"of {made.made} texts, {made.known} stood in train or unlabeled, {made.repeated} came twice and "
            f"{made.held_out} stand in dev or test; raise its probabilities, or give more training rows"
        )
    raise InputError(f"{label} generated nothing: {why}")


def _judged(made: Generated, judge: Judge, label: str) -> None:
    """Keep the rows that the teacher is sure (or unsure) enough of. Raises InputError when none is left."""
    kept = judge.kept(made.rows)
    made.unsure = len(made.rows) - len(kept)
    if not kept:
        low, high = judge.keep.bounds()
        raise InputError(
            f"keep: of {made.unsure} new texts of {label} the teacher gives none a probability from {low:g} to "
            f"{high:g}; lower `above`, or widen `between`"
        )
    made.rows = kept
