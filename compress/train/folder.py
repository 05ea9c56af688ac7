"""Model folders: loading a checkpoint with every fault named, saving a student that provably loads again."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import transformers
from safetensors import SafetensorError
from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor, nn
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from compress.core.artifact import write_json
from compress.core.errors import InputError, JobError
from compress.core.family import is_uneven, stock_family
from compress.runtime.engines.torch_output import one_output
from compress.train.card import write_card
from compress.train.facts import architecture, longest_input, model_inputs, parameters
from compress.train.golden import write_golden
from compress.train.rows import bare_ids, encode_row, inputs_for, tensors
from compress.train.sentence_files import write_sentence_files
from compress.train.source import WEIGHTS, check_folder, is_folder

FLOAT_TOLERANCE = 1e-3
# Equal weights may give outputs that differ in the last bits: some processors' kernels depend on where in memory the
# weights lie (on AMD EPYC a reloaded BERT was off by 2e-8). The weights themselves must be equal bit for bit.
ROUNDING = 1e-5
_PROBLEMS = {
    "classify": "single_label_classification",
    "regress": "regression",
    "multilabel": "multi_label_classification",
}
_AUTO_CLASSES = {
    "classify": "AutoModelForSequenceClassification",
    "regress": "AutoModelForSequenceClassification",
    "tag": "AutoModelForTokenClassification",
    "mask": "AutoModelForMaskedLM",
    "multilabel": "AutoModelForSequenceClassification",
    "answer": "AutoModelForQuestionAnswering",
    "embed": "AutoModel",
}
_UNNAMED = tuple(_AUTO_CLASSES[name] for name in ("mask", "answer", "embed"))  # heads whose outputs are no labels


@dataclass
class Loaded:
    """A model in eval mode, float32, with its tokenizer.

    missing: weights that the checkpoint lacks and that are therefore new (a head, say). labels: names in index order
    (`LABEL_0`, ... when the checkpoint has none). about: the facts of a Stillroom artifact, else {}. commit: the
    resolved revision of a hub model, else "".
    """

    model: PreTrainedModel
    tokenizer: Any
    missing: list[str]
    labels: list[str]
    max_length: int
    about: dict[str, Any]
    commit: str = ""


def load_model(
    source: str,
    auto_class: str,
    *,
    num_labels: int | None = None,
    labels: Sequence[str] | None = None,
    revision: str | None = None,
    fresh_head: bool = False,
) -> Loaded:
    """Load a local folder or a hub model under the head of `auto_class`.

    num_labels, labels: the head that is wanted; a checkpoint without a head gets a new one (see `missing`).
    fresh_head: also replace a head of another shape, which is refused otherwise.
    Raises InputError for everything that is wrong with the checkpoint. Nothing but safetensors is ever read.
    """
    about = check_folder(Path(source)) if is_folder(source) else {}
    wanted = len(labels) if num_labels is None and labels else num_labels
    with quiet(), explained(source):
        config = AutoConfig.from_pretrained(source, revision=revision)
        _shape_head(config, auto_class, wanted, labels)
        model, report = getattr(transformers, auto_class).from_pretrained(
            source, config=config, revision=revision, dtype=torch.float32, use_safetensors=True,
            ignore_mismatched_sizes=True, output_loading_info=True,
        )  # fmt: skip
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision)
    missing = _check_report(source, model, report, fresh_head)
    _check_finite(source, model)
    _check_tokenizer(source, model, tokenizer)
    if model.config.pad_token_id is None:  # a GPT-2 finds the last token of a text by it
        model.config.pad_token_id = tokenizer.pad_token_id
    if auto_class == _AUTO_CLASSES["tag"] and missing:
        prefix_words(tokenizer)
    tokenizer.model_input_names = model_inputs(model, tokenizer)
    return Loaded(
        model=model.eval(),
        tokenizer=tokenizer,
        missing=missing,
        labels=_labels_of(model, auto_class),
        max_length=int(about.get("max_length") or longest_input(model, tokenizer)),
        about=about,
        commit=str(getattr(model.config, "_commit_hash", None) or ""),
    )


def _move(model: nn.Module, device: torch.device | str) -> nn.Module:
    return model.to(device)


def _labels_of(model: PreTrainedModel, auto_class: str) -> list[str]:
    """Label names in index order; none for a regression, a vocabulary, places of answers and embeddings."""
    config: Any = model.config
    if auto_class in _UNNAMED or config.problem_type == _PROBLEMS["regress"] or config.num_labels < 2:
        return []
    return [str(config.id2label[index]) for index in range(config.num_labels)]


def save_student(
    model: PreTrainedModel,
    tokenizer: Any,
    out: Path,
    *,
    task: Mapping[str, Any],
    labels: Sequence[str],
    max_length: int,
    golden_rows: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Save a stock Hugging Face folder with `golden.json` and a model card; returns the manifest's `about`.

    task: `{name: {options}}` as a recipe writes it. The folder is loaded again and compared: weights and token ids (by
    transformers and by the tokenizers library alone) bit for bit, outputs on the golden rows within `ROUNDING`.
    Raises JobError when anything differs.
    """
    device = model.device
    _move(model, "cpu").eval()
    try:
        (name,) = task
        _name_labels(model.config, name, labels)
        inputs = model_inputs(model, tokenizer)
        with quiet():
            model.save_pretrained(out, max_shard_size="100GB")
            save_tokenizer(tokenizer, out, inputs, max_length)
        auto_class = _AUTO_CLASSES.get(name) or type(model).__name__
        asked = inputs_for(name, golden_rows)
        logits = _reload_and_compare(model, tokenizer, out, auto_class, inputs, max_length, asked, task)
    finally:
        _move(model, device)
    write_golden(out, logits, asked, FLOAT_TOLERANCE)
    if name == "embed":
        write_sentence_files(out, task[name], int(model.config.hidden_size), max_length)
    about = {
        "task": dict(task),
        "labels": list(labels),
        "max_length": max_length,
        "family": stock_family(model.config),
        "architecture": architecture(model),
        "parameters": parameters(model),
        "engine": {"torch": {"file": WEIGHTS, "dtype": "float32"}},
        "inputs": inputs,
        **({"uneven": True} if is_uneven(model.config) else {}),
    }
    write_card(out, about)
    return about


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from printing load reports and progress bars while the block runs."""
    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


@contextmanager
def explained(source: str) -> Iterator[None]:
    """Turn what transformers raises over a checkpoint into one readable InputError."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, SafetensorError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if Path(source).is_dir():
            message = f"{source}: cannot be loaded as a model ({reason[:300]}); use a folder saved by save_pretrained"
        else:
            message = (
                f"{source}: no folder of this name, and the hub does not give it ({reason[:300]}); give a local model "
                f"folder, or a hub name and revision that this machine can reach or has in its cache"
            )
        raise InputError(message) from error


def _shape_head(config: Any, auto_class: str, wanted: int | None, labels: Sequence[str] | None) -> None:
    if labels and wanted is not None and len(labels) != wanted:
        raise InputError(f"a head of {wanted} labels was asked for, and {len(labels)} names were given")
    if wanted is not None and wanted != config.num_labels:
        config.num_labels = wanted
    if labels:
        _set_labels(config, labels)
    if auto_class == "AutoModelForSequenceClassification" and wanted is not None:
        several = config.problem_type == _PROBLEMS["multilabel"] and wanted > 1
        config.problem_type = _PROBLEMS["multilabel" if several else "regress" if wanted == 1 else "classify"]


def _set_labels(config: Any, labels: Sequence[str]) -> None:
    config.id2label = {index: str(name) for index, name in enumerate(labels)}
    config.label2id = {str(name): index for index, name in enumerate(labels)}


def _name_labels(config: Any, task: str, labels: Sequence[str]) -> None:
    """Put the task's labels into the config. Raises JobError when the head has another number of outputs."""
    if task in _PROBLEMS:
        config.problem_type = _PROBLEMS[task]
    if not labels:
        return
    if config.num_labels != len(labels):
        raise JobError(f"the model's head has {config.num_labels} outputs, and the task {len(labels)} labels")
    _set_labels(config, labels)


def _check_report(source: str, model: PreTrainedModel, report: dict[str, Any], fresh_head: bool) -> list[str]:
    """The weights that are new. Raises InputError when any of them belongs to the body."""
    changed = {name: (came, wanted) for name, came, wanted in report["mismatched_keys"]}
    missing = sorted({*report["missing_keys"], *changed})
    body = [name for name in missing if _in_body(model, name)]
    if body:
        raise InputError(
            f"{source}: lacks {len(body)} weights of a {stock_family(model.config)} body ({', '.join(body[:3])}, ...), "
            f"which would be random; its weights and its config.json do not belong together"
        )
    if changed and not fresh_head:
        name, (came, wanted) = next(iter(changed.items()))
        raise InputError(
            f"{source}: its head does not fit the labels: {name} has shape {list(came)}, the task needs "
            f"{list(wanted)}; use a checkpoint with as many labels as the data, or one without a head"
        )
    return missing


def _check_finite(source: str, model: PreTrainedModel) -> None:
    """safetensors holds NaN without complaint: what broke in an earlier training would break this one."""
    broken = [name for name, weight in model.state_dict().items() if not torch.isfinite(weight).all()]
    if broken:
        raise InputError(
            f"{source}: has NaN or infinite weights ({', '.join(broken[:3])}); its training broke. Use another "
            "checkpoint, or train it again with a lower learning rate"
        )


def _in_body(model: PreTrainedModel, name: str) -> bool:
    inside = model.base_model is model or name.startswith(f"{model.base_model_prefix}.")
    return inside and "pooler." not in name


def _check_tokenizer(source: str, model: PreTrainedModel, tokenizer: Any) -> None:
    if not getattr(tokenizer, "is_fast", False):
        raise InputError(f"{source}: has no fast tokenizer; add tokenizer.json (AutoTokenizer saves it)")
    if tokenizer.pad_token_id is None:
        raise InputError(f"{source}: its tokenizer has no padding token, so texts cannot be batched")
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise InputError(f"{source}: its tokenizer knows special tokens only; add tokenizer.json or vocab.txt")
    rows = len(cast(Tensor, model.get_input_embeddings().weight))
    if len(tokenizer) > rows:
        raise InputError(
            f"{source}: the tokenizer knows {len(tokenizer)} tokens and the model only {rows}; "
            f"they do not belong together"
        )


def prefix_words(tokenizer: Any) -> None:
    """Give a byte-level tokenizer a space before each word, for a model that is yet to learn to tag.

    Words that come already split have lost the space before them, and byte-level vocabularies hold whole words only
    with that space. A model that has learned to tag keeps the tokenizer that it learned with.
    """
    splitter = tokenizer.backend_tokenizer.pre_tokenizer
    if isinstance(splitter, ByteLevel) and not splitter.add_prefix_space:
        splitter.add_prefix_space = True
        tokenizer.backend_tokenizer.pre_tokenizer = splitter
        tokenizer.add_prefix_space = tokenizer.init_kwargs["add_prefix_space"] = True


def save_tokenizer(tokenizer: Any, out: Path, inputs: Sequence[str], max_length: int) -> None:
    """Save without the padding and truncation of the last call, which would otherwise be baked into tokenizer.json."""
    clean = copy.deepcopy(tokenizer)
    clean.backend_tokenizer.no_truncation()
    clean.backend_tokenizer.no_padding()
    clean.save_pretrained(out)
    path = out / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    for name in ("max_length", "stride", "truncation_strategy", "pad_to_multiple_of", "name_or_path"):
        config.pop(name, None)
    write_json(path, {**config, "model_input_names": list(inputs), "model_max_length": max_length})


def _align(model: PreTrainedModel) -> None:
    """Put weights on cache lines: a product with one row takes another kernel, and rounds differently, off them.

    A file's weights lie wherever its header ends, so that equal weights would give outputs that differ in the last bit.
    """
    for value in (*model.parameters(), *model.buffers()):
        if value.data_ptr() % 64:
            value.data = value.data.clone()


def _reload_and_compare(
    model: PreTrainedModel,
    tokenizer: Any,
    out: Path,
    auto_class: str,
    inputs: Sequence[str],
    max_length: int,
    rows: Sequence[Mapping[str, Any]],
    task: Mapping[str, Any],
) -> list[np.ndarray]:
    """The saved folder's logits for each row, after they proved equal to the model's. Raises JobError otherwise."""
    attention = getattr(model.config, "_attn_implementation", None)
    with quiet():
        again, report = getattr(transformers, auto_class).from_pretrained(
            out, dtype=torch.float32, attn_implementation=attention, output_loading_info=True
        )
        reloaded = AutoTokenizer.from_pretrained(out)
    fault = _first_difference(model, again, report)
    if fault:
        raise JobError(f"{out}: the saved student does not load as it was ({fault}); it is not kept")
    _align(model)
    _align(again)
    bare = Tokenizer.from_file(str(out / "tokenizer.json"))
    outputs = []
    for row in rows:
        before, after = (encode_row(one, row, inputs, max_length, task) for one in (tokenizer, reloaded))
        if before != after or [one["input_ids"] for one in after] != bare_ids(bare, row, max_length, task):
            raise JobError(f"{out}: the saved tokenizer gives other tokens for {str(row)[:80]}; it is not kept")
        mine, theirs = _logits(model, before, task), _logits(again.eval(), after, task)
        if not all(
            torch.allclose(one, two, rtol=ROUNDING, atol=ROUNDING) for one, two in zip(mine, theirs, strict=True)
        ):
            raise JobError(f"{out}: the saved student gives other outputs for {str(row)[:80]}; it is not kept")
        outputs.append(torch.cat(theirs).numpy() if len(theirs) > 1 else theirs[0].numpy())
    return outputs


def _first_difference(model: PreTrainedModel, again: PreTrainedModel, report: dict[str, Any]) -> str:
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report[what]:
            return f"{what.replace('_', ' ')}: {', '.join(map(str, sorted(report[what])[:3]))}"
    held = again.state_dict()
    broken = [name for name, weight in held.items() if not torch.isfinite(weight).all()]
    if broken:
        return f"NaN or infinite weights: {', '.join(broken[:3])}"
    changed = [name for name, weight in model.state_dict().items() if not torch.equal(weight, held[name])]
    return f"other weights: {', '.join(changed[:3])}" if changed else ""


def _logits(
    model: PreTrainedModel, encoded: Sequence[Mapping[str, list[int]]], task: Mapping[str, Any]
) -> list[Tensor]:
    """The one output of the model for each encoded input, without the batch axis."""
    with torch.inference_mode():
        found = [cast(Tensor, one_output(model, task)(**tensors(one)).logits) for one in encoded]
    return [logits[0].float() for logits in found]
