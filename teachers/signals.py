"""Run a teacher over a corpus and store what it says: the `label` step, and the plain function `label`."""

from __future__ import annotations

import itertools
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from compress.anatomy.base import anatomy_of
from compress.core.artifact import MANIFEST, ArtifactWriter, read_manifest
from compress.core.environment import environment
from compress.core.errors import InputError, JobError
from compress.core.hashing import digest
from compress.core.options import Choice
from compress.core.reporter import Reporter
from compress.corpora.corpus import Corpus
from compress.signals.arrays import Form
from compress.signals.keep import Dtype, Keep, Kept
from compress.signals.maker import FORMAT, Look, Maker, looking, probe
from compress.signals.origin import Origin, model_identity
from compress.signals.ranks import Ranks
from compress.signals.shards import bytes_there, need_room, note_of
from compress.signals.store import Facts, Signals, complete
from compress.tasks.base import TASKS, Task
from compress.tasks.features import collator, encode_rows, lengths
from compress.train.batches import Feature
from compress.train.facts import positions
from compress.train.folder import Loaded, load_model
from compress.train.options import Device, Precision
from compress.train.place import resolve_device, resolve_precision

COMPLETING = 3600.0  # seconds that the others wait for the index and the hashes of a large artifact
LEAST_LENGTH = 8  # tokens: below that nothing is left of a text between its special tokens
CHUNK = 1024  # rows that are read and encoded at a time
DEFAULT_SPLITS = ("train", "unlabeled")


@dataclass(frozen=True)
class Rows:
    """A corpus as one tokenizer reads it, a chunk at a time."""

    corpus: Corpus
    task: Task
    tokenizer: Any
    max_length: int

    def features(self, split: str) -> Iterator[Feature]:
        """The rows of a split as token ids, in order."""
        for rows in self.corpus.chunks(split, CHUNK):
            yield from encode_rows(self.task, self.tokenizer, rows, self.max_length)


@dataclass(frozen=True)
class Given:
    """What the shards are made of: a place, rows, a teacher that looks at them, and what is kept."""

    work: Path
    rows: Rows
    look: Look
    origin: Origin
    kept: Kept


@dataclass(frozen=True)
class Labelling:
    """One teacher over the splits of one corpus.

    splits: None for train and, when there is one, unlabeled. max_length: None for the teacher's. dtype: of hidden
    states, queries, keys and values. device, precision: as training takes them.
    """

    corpus: Corpus
    teacher: str
    keep: Keep = field(default_factory=Keep)
    splits: Sequence[str] | None = None
    max_length: int | None = None
    dtype: Dtype = "fp16"
    batch_size: int = 64
    device: str = "auto"
    precision: str = "auto"
    reporter: Reporter = field(default_factory=Reporter)
    ranks: Ranks = field(default_factory=Ranks.of)

    def __post_init__(self) -> None:
        """Raises InputError for options that the step's fields would refuse."""
        if self.batch_size < 1:
            raise InputError(f"batch_size: expected 1 or more, came {self.batch_size}")
        if self.max_length is not None and self.max_length < LEAST_LENGTH:
            raise InputError(f"max_length: expected {LEAST_LENGTH} tokens or more, came {self.max_length}")
        if self.splits is not None and not self.splits:
            raise InputError("splits: none are named; leave it out for train and unlabeled")
        for name, value, known in (
            ("dtype", self.dtype, get_args(Dtype)),
            ("device", self.device, get_args(Device)),
            ("precision", self.precision, get_args(Precision)),
        ):
            if value not in known:
                raise InputError(f"{name}: expected {', '.join(known)}, came {value!r}")

    def run(self, work: Path, out: Path | None) -> dict[str, Any]:
        """Make this process's shards in `work`; with `out`, wait for those of the others and put all of them there.

        Returns the facts for the manifest's `about`. Killed and run again, it goes on from its whole shards. Raises
        InputError for what cannot be labelled, JobError for a full disk, a teacher that gives NaN, and processes that
        died.
        """
        splits = self._splits()
        task = Choice(TASKS).parse(self.corpus.task)
        assert isinstance(task, Task)
        loaded = self._load(task)
        kept = self.keep.of(anatomy_of(loaded.model).depth(loaded.model), self.dtype)
        origin = self._origin(task, loaded)
        work.mkdir(parents=True, exist_ok=True)
        rows = Rows(self.corpus, task, loaded.tokenizer, origin.max_length)
        device = resolve_device(self.device)
        with looking(
            loaded.model,
            kept.wanted,
            read=task.read,
            pool=task.pool,
            device=device,
            precision=origin.precision,
            longest=origin.max_length,
        ) as look:
            form, names = self._make(Given(work, rows, look, origin, kept), splits)
        anatomy = anatomy_of(loaded.model)
        facts = Facts(origin, kept, form, anatomy.depth(loaded.model), anatomy.width(loaded.model))
        about = {**facts.as_json(), "rows": {split: self.corpus.rows[split] for split in splits}, "keeps": kept.text()}
        if out is None:
            return about
        self.ranks.wait(work, lambda: _all_there(work, names), "shards of other processes")
        return {**about, **_counted(complete(work, names, out))}

    def key(self) -> str:
        """What decides the artifact: the corpus by its files, the teacher by its weights, and the options."""
        return digest(
            {
                "corpus": read_manifest(self.corpus.folder, "Corpus")["files"],
                "teacher": model_identity(self.teacher, ""),
                "keep": self.keep.dump(),
                "splits": self._splits(),
                "format": FORMAT,
                "options": [self.max_length, self.dtype, self.device, self.precision],
            }
        )

    def _make(self, given: Given, splits: Sequence[str]) -> tuple[Form, list[str]]:
        rows, collate = given.rows, collator(given.rows.task, given.rows.tokenizer.pad_token_id)
        sample = list(itertools.islice(rows.features(splits[0]), CHUNK))
        form = probe(given.look, collate, sample, given.kept, rows.task.fill)
        self._check_room(given.work, form, sample, splits)
        maker = Maker(
            given.work, given.origin, given.kept, given.look, collate, form, self.batch_size, self.ranks, self.reporter,
            resolve_device(self.device).type,
        )  # fmt: skip
        names: list[str] = []
        for split in splits:
            names += maker.make(rows.features(split), self.corpus.rows[split], f"signals of {split}")
        return form, names

    def _splits(self) -> list[str]:
        asked = (
            self.splits if self.splits is not None else [split for split in DEFAULT_SPLITS if self.corpus.has(split)]
        )
        for split in asked:
            if not self.corpus.has(split):
                raise InputError(
                    f"splits: {self.corpus.folder} has no {split} split (it has: {', '.join(self.corpus.rows)})"
                )
            if not self.corpus.rows[split]:
                raise InputError(f"splits: the {split} split of {self.corpus.folder} has no rows; leave it out")
        if not asked:
            raise InputError(f"splits: {self.corpus.folder} has neither train nor unlabeled; name its splits")
        return list(dict.fromkeys(asked))

    def _load(self, task: Task) -> Loaded:
        labels = len(self.corpus.labels)
        outputs = {"classes": labels, "labels": labels, "value": 1, "span": 2}.get(task.output)
        loaded = load_model(self.teacher, task.auto_class, num_labels=outputs)
        fresh = [name for name in loaded.missing if "pooler." not in name]
        if fresh and self.keep.logits:
            raise InputError(
                f"{self.teacher}: has no trained head for this task ({', '.join(fresh[:3])} would be random), and its "
                f"logits are to be kept; fine-tune it with a `teach` step first, or set keep: {{logits: false}}"
            )
        return loaded

    def _origin(self, task: Task, loaded: Loaded) -> Origin:
        most = positions(loaded.model)
        max_length = loaded.max_length if self.max_length is None else self.max_length
        if max_length > most:
            raise InputError(f"max_length: {self.teacher} reads at most {most} tokens; set it to {most} or less")
        precision = resolve_precision(self.precision, resolve_device(self.device))
        return Origin.of(self.teacher, loaded.commit, loaded.tokenizer, max_length, task, precision)

    def _check_room(self, shards: Path, form: Form, sample: Sequence[Feature], splits: Sequence[str]) -> None:
        """Raises JobError before anything is spent when the disk cannot hold what is coming."""
        rows = sum(self.corpus.rows[split] for split in splits)
        tokens = rows * sum(lengths(sample)) / len(sample)
        need_room(shards, max(0.0, form.bytes_of(rows, tokens) - bytes_there(shards)))


def label(corpus: str | Path | Corpus, teacher: str | Path, out: str | Path, **options: Any) -> Signals:
    """Store what `teacher` (a folder or hub name) says about a corpus as a Signals artifact in `out`, and open it.

    options: those of `Labelling` (keep, splits, max_length, dtype, batch_size, device, precision, reporter). Whole
    shards of a call that was killed lie beside `out` and are used again; an artifact that was made of the same corpus
    and teacher with the same options is opened as it is. Under torchrun every process calls this with the same
    arguments: they share the shards, the first one completes the artifact, and all return it opened.
    """
    out = Path(out)
    opened = corpus if isinstance(corpus, Corpus) else Corpus.open(corpus)
    labelling = Labelling(opened, str(teacher), **options)
    work, key = out.parent / f".work-{out.name}", labelling.key()
    ranks, began, before = labelling.ranks, time.time(), _finished(out, key)
    if ranks.rank:
        if not before:
            labelling.run(work, None)

        def there() -> bool:
            ranks.arrive(work)
            return _finished(out, key)

        ranks.wait(work, there, f"the artifact {out}", COMPLETING)
    elif not before:
        writer = ArtifactWriter(out)
        try:
            about = labelling.run(work, writer.open())
            manifest = {"kind": "Signals", "verb": "label", "step": out.name, "key": key, "about": about}
            writer.commit({**manifest, "environment": environment()})
        finally:
            writer.abandon()
    if not ranks.rank and work.is_dir():
        _clear(work, labelling, None if before else began)
    return Signals.open(out)


def _clear(work: Path, labelling: Labelling, began: float | None) -> None:
    """Remove the shards beside a whole artifact. began: of this job, when its other processes may still read them."""
    if began is not None:
        try:
            labelling.ranks.wait(work, lambda: labelling.ranks.all_arrived(work, began), "the other processes")
        except JobError as error:
            labelling.reporter.warn(f"{work} is left where it is, the artifact is whole: {error}")
            return
    gone = work.with_name(
        f"{work.name}.gone"
    )  # in one stroke: a process that looks in meanwhile would stop it half-way
    shutil.rmtree(gone, ignore_errors=True)  # what a kill in the last line has left
    os.replace(work, gone)
    shutil.rmtree(gone, ignore_errors=True)


def _finished(out: Path, key: str) -> bool:
    return (out / MANIFEST).is_file() and read_manifest(out).get("key") == key


def _all_there(shards: Path, names: Sequence[str]) -> bool:
    return all(note_of(shards, name) is not None for name in names)


def _counted(totals: Mapping[str, int]) -> dict[str, int]:
    return {"stored_rows": totals["rows"], "stored_tokens": totals["tokens"], "stored_bytes": totals["bytes"]}
