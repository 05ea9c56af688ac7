"""What `quantize` and `export` share: opening a float student, and finishing a folder that holds another form of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from compress.core.artifact import MANIFEST, read_manifest
from compress.core.errors import Fault, InputError
from compress.core.family import is_uneven, stock_family
from compress.core.options import Choice
from compress.corpora.corpus import Corpus
from compress.export.base import EXPORTERS
from compress.export.shapes import trial_batches
from compress.runtime.engines.base import Engine, open_engine
from compress.runtime.folder import Carried
from compress.runtime.student import Student
from compress.runtime.tokenize import Encoder
from compress.steps.base import Context
from compress.steps.compare import Opened, compare
from compress.tasks.base import TASKS, Task
from compress.train.card import write_card
from compress.train.facts import architecture, longest_input, model_inputs, parameters
from compress.train.folder import Loaded, load_model
from compress.train.golden import write_golden
from compress.train.rows import inputs_for
from compress.train.source import read_config

GOLDEN_ROWS = 8
COPIED = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt",
          "vocab.json", "merges.txt", "added_tokens.json")  # fmt: skip


def local_folder(model: str) -> list[Path]:
    """The folder of a model that is given by path, for the identity of a step."""
    return [Path(model)] if not model.startswith("$") and Path(model).is_dir() else []


def missing_folder(model: str) -> list[Fault]:
    """A fault for a model that is neither a step nor a folder."""
    if model.startswith("$") or Path(model).is_dir():
        return []
    return [Fault("model", f"{model}: no such folder; give a `distill` or `teach` step, or a model folder")]


def open_float(context: Context, model: str, corpus: str, untrained: bool = False) -> Opened:
    """Open the student and the corpus. untrained: a model without a head for the task will do; it gets a new one.

    Raises InputError for a student that is no longer float, or does not fit.
    """
    source, opened = Path(context.source(model)), Corpus.open(context.folder(corpus))
    task = Choice(TASKS).parse(opened.task)
    assert isinstance(task, Task)
    _refuse_other_forms(source, model)
    outputs = {"classes": len(opened.labels), "labels": len(opened.labels), "value": 1, "span": 2}.get(task.output)
    loaded = load_model(str(source), task.auto_class, num_labels=outputs if untrained else None)
    if not untrained and getattr(loaded.model.config, "is_encoder_decoder", False):
        raise InputError(
            f"{model}: a {stock_family(loaded.model.config)} has an encoder and a decoder, of which no engine's form "
            f"is made and nothing is factorized here; `prune` is what there is for it"
        )
    random = untrained_parts(loaded, task)
    if random and not untrained:
        raise InputError(f"{model}: lacks trained weights for its task ({', '.join(random[:3])}); train it first")
    name = str(task.registered_name)
    if loaded.about and name not in loaded.about["task"]:
        raise InputError(f"{model}: is a student for {', '.join(loaded.about['task'])}, and the corpus is for {name}")
    if opened.labels and loaded.labels != opened.labels and not random:
        raise InputError(f"{model}: has the labels {loaded.labels}, and the corpus {opened.labels}; use its own corpus")
    inputs, longest = model_inputs(loaded.model, loaded.tokenizer), longest_input(loaded.model, loaded.tokenizer)
    about = loaded.about or _facts(loaded, opened, inputs)
    _check_embedding(about["task"].get(name), task, model)
    batches = trial_batches(loaded.model.config, inputs, longest)
    return Opened(source, loaded, opened, task, about, batches, longest)


def untrained_parts(loaded: Loaded, task: Task) -> list[str]:
    """Weights of the task's head that the checkpoint lacks; a pooler counts where the head reads it."""
    return [name for name in loaded.missing if "pooler." not in name or task.output in ("classes", "labels")]


def _check_embedding(options: Mapping[str, Any] | None, task: Task, model: str) -> None:
    """Refuse a corpus that nothing can be compared on, and one that pools otherwise than the student learnt."""
    if not task.scorable:
        raise InputError("the corpus has nothing to score on; give one with pairs of texts, or for regress with scores")
    for name in ("pooling", "normalize"):
        mine, theirs = (options or {}).get(name), getattr(task, name, None)
        if options and mine != theirs:
            raise InputError(
                f"{model}: its embeddings have {name}: {mine}, and the corpus asks for {theirs}; make them the same"
            )


def export_form(opened: Opened, exporter: str, out: Path) -> dict[str, Any]:
    """Export the float student with an exporter's defaults, proven against eager; returns the facts of its engine."""
    out.mkdir(parents=True, exist_ok=True)
    return EXPORTERS.get(exporter)().export(opened.one_output(), opened.batches, opened.longest, out)


def finish(context: Context, opened: Opened, engine: str, facts: Mapping[str, Any], floor: float) -> dict[str, Any]:
    """Complete the folder `context.out` and measure it against the float student on dev.

    floor: the smallest tolerance of the golden outputs. Returns the parity, which also stands in `measured`.
    """
    out, dtype = context.out, str(facts["dtype"])
    for name in COPIED:
        if (opened.source / name).is_file() and not (out / name).is_file():
            shutil.copyfile(opened.source / name, out / name)
    about = {**opened.about, "engine": {engine: dict(facts)}}
    runner = open_engine(engine, out, about, torch.get_num_threads(), "cpu")
    scores, compared = compare(opened, runner, f"{dtype} against float32 on dev", context.reporter)
    # Another CPU or library version may round an activation to its neighbour, which costs no more than rounding did.
    tolerance = max(floor, compared["largest_logit_difference"])
    _golden(opened, about, runner, out, tolerance)
    write_card(out, about)
    context.about.update(about)
    before, after = _bytes(opened.source), _bytes(out)
    size = {"float32": before, "this": after, "ratio": before / after}
    context.measured.update(dev=scores, parity=compared, size=size)
    return compared


def _refuse_other_forms(source: Path, name: str) -> None:
    """Raises InputError for a folder whose weights are quantized, by Stillroom or by something else."""
    manifest = source / MANIFEST
    about = read_manifest(source, "Model").get("about", {}) if manifest.is_file() else {}
    for form, facts in about.get("engine", {}).items():
        if form != "torch" or facts.get("dtype") != "float32":
            raise InputError(
                f"{name}: is already {facts.get('dtype')} for the engine {form}; give the float student that it was "
                f"made from (a `teach` or `distill` step)"
            )
    written = source / "config.json"
    method = read_config(source).get("quantization_config") if written.is_file() else None
    if method:
        kind = method.get("quant_method") if isinstance(method, dict) else method
        raise InputError(f"{name}: is quantized already ({kind}); give the float model that it was made from")


def _facts(loaded: Loaded, corpus: Corpus, inputs: list[str]) -> dict[str, Any]:
    """The facts of a plain Hugging Face folder, which has no manifest to tell them."""
    return {
        "task": corpus.task,
        "labels": corpus.labels,
        "max_length": loaded.max_length,
        "family": stock_family(loaded.model.config),
        "architecture": architecture(loaded.model),
        "parameters": parameters(loaded.model),
        "inputs": inputs,
        **({"uneven": True} if is_uneven(loaded.model.config) else {}),
    }


def _golden(opened: Opened, about: dict[str, Any], runner: Engine, out: Path, tolerance: float) -> None:
    """Write `golden.json` from what the student itself answers, each row on its own."""
    rows = inputs_for(str(opened.task.registered_name), opened.corpus.texts("dev")[:GOLDEN_ROWS])
    config, tokenizer = (json.loads((out / name).read_text(encoding="utf-8")) for name in COPIED[:3:2])
    carried = Carried(out, about, config, tokenizer, hashed=False)
    student = Student(carried, runner, Encoder(carried))
    write_golden(out, student.logits(rows, batch_size=1), rows, tolerance)


def _bytes(folder: Path) -> int:
    """Bytes of a folder's files, its manifest (which an unfinished folder lacks) left out."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
