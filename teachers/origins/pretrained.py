"""A teacher from a checkpoint: a local Hugging Face folder, a hub name, or the model of an earlier step."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub import is_offline_mode, try_to_load_from_cache
from pydantic import Field
from transformers import AutoConfig, PreTrainedModel
from transformers.utils.hub import resolve_revision

from compress.core.errors import Fault, InputError
from compress.core.family import stock_family
from compress.core.options import ModelSource
from compress.train.folder import load_model
from compress.train.source import is_folder, read_config, refuse_pickle
from teachers.families.base import family_of
from teachers.heads import move_body, with_head
from teachers.origins.base import ORIGINS, Need, Origin, Start


@ORIGINS.register("pretrained")
class Pretrained(Origin):
    """A checkpoint of a known family in safetensors. Code from a checkpoint is never run: these families need none."""

    name: ModelSource = Field(description="folder, hub name, or $step")
    revision: str | None = Field(None, description="commit, tag or branch of a hub name; give one to pin the weights")
    head: Literal["auto", "fresh"] = Field(
        "auto", description="auto: keep the checkpoint's own head when its labels are the corpus's; fresh: a new one"
    )

    def files(self) -> list[Path]:
        """The local folder, when it is one."""
        folder = Path(self.name)
        return [folder] if folder.is_dir() else []

    def shaped_by(self) -> str:
        """The checkpoint."""
        return self.name

    def preflight(self, max_length: int) -> list[Fault]:
        """A folder that is not there or holds no known family; a hub name that cannot be reached."""
        if self.name.startswith("$"):
            return []
        folder = Path(self.name)
        try:
            if is_folder(self.name):
                _check_folder(folder, max_length)
            else:
                _check_name(self.name, self.revision)
        except InputError as error:
            return [Fault("name", str(error))]
        return []

    def start(self, need: Need) -> Start:
        """Load body, tokenizer and head; the head is new unless the checkpoint brings one for these very labels."""
        source = need.resolve(self.name)
        facts: dict[str, Any] = {"pretrained": self.name}
        revision = self.revision
        if not Path(source).is_dir():
            revision = facts["revision"] = _pin(self.name, self.revision, need)
        if self.head == "auto":
            _check_head(_own_labels(source, revision, need.task.auto_class), need, source)
        torch.manual_seed(need.seed)
        loaded = load_model(
            source, need.task.auto_class, num_labels=need.outputs, labels=need.corpus.labels or None,
            revision=revision, fresh_head=self.head == "fresh",
        )  # fmt: skip
        model = loaded.model
        _check_length(family_of(stock_family(model.config), source).longest(model.config), need.max_length, source)
        facts["new_weights"] = loaded.missing
        if self.head == "fresh" and need.task.output != "vector":  # a body has no head
            model = with_head(model.config, need)
            move_body(loaded.model, model)
            facts["new_weights"] = sorted(name for name in model.state_dict() if not _in_body(model, name))
        return Start(model, loaded.tokenizer, facts)


def _check_folder(folder: Path, max_length: int) -> None:
    refuse_pickle(folder)
    config = read_config(folder)
    family = family_of(stock_family(config), str(folder))
    positions = config.get("max_position_embeddings")
    if isinstance(positions, int):
        _check_length(positions - family.position_offset, max_length, str(folder))


def _check_length(longest: int, max_length: int, source: str) -> None:
    if max_length > longest:
        raise InputError(f"{source}: reads at most {longest} tokens; set max_length to {longest} or less")


def _check_name(name: str, revision: str | None) -> None:
    if is_offline_mode() and not isinstance(try_to_load_from_cache(name, "config.json", revision=revision), str):
        raise InputError(
            f"{name}: no such folder, and as a hub name it cannot be fetched in offline mode (HF_HUB_OFFLINE) and is "
            "not in the local cache; give the path of a model folder, or fetch it once while online"
        )


def _pin(name: str, revision: str | None, need: Need) -> str | None:
    """The commit that a hub name stands for now, so that the manifest can say which weights were used."""
    commit = getattr(resolve_revision(name, revision), "resolved", None)
    if revision is None:
        need.reporter.warn(
            f"{name}: no revision was given, so another day may bring other weights; "
            f"add `revision: {commit or 'COMMIT'}` to pin it"
        )
    return commit or revision


def _own_labels(source: str, revision: str | None, auto_class: str) -> list[str] | None:
    """Label names of a head of this kind that the checkpoint brings, or None when it brings none."""
    try:
        config = AutoConfig.from_pretrained(source, revision=revision)
    except (OSError, ValueError, KeyError):
        return None  # load_model says what is wrong with it
    kind = auto_class.removeprefix("AutoModel")
    if not any(str(name).endswith(kind) for name in config.architectures or []):
        return None
    return [str(config.id2label.get(index, index)) for index in range(config.num_labels)]


def _check_head(own: list[str] | None, need: Need, source: str) -> None:
    """Refuse a head whose labels are others than the corpus's, or stand in another order."""
    wanted = need.corpus.labels
    if own is None or need.outputs is None or own == wanted or (not wanted and len(own) == need.outputs):
        return
    fresh = "or write `head: fresh` to put a new head on its body"
    if len(own) != need.outputs:
        raise InputError(
            f"{source}: its head has {len(own)} outputs ({', '.join(own[:5])}), the corpus needs {need.outputs} "
            f"({', '.join(wanted[:5]) or 'one value'}); use a checkpoint for this task, {fresh}"
        )
    if all(name.startswith("LABEL_") for name in own):
        need.reporter.warn(f"{source}: its head's labels have no names; they are taken to be {', '.join(wanted)}")
    elif sorted(own) == sorted(wanted):
        raise InputError(
            f"{source}: its head has the labels in the order {', '.join(own)}, the corpus in the order "
            f"{', '.join(wanted)}; write `labels: [{', '.join(own)}]` in the prepare step, {fresh}"
        )
    else:
        raise InputError(
            f"{source}: its head is for the labels {', '.join(own[:8])}, the corpus has {', '.join(wanted[:8])}; "
            f"name the corpus's labels as the checkpoint does (`label_names` in the prepare step), {fresh}"
        )


def _in_body(model: PreTrainedModel, name: str) -> bool:
    return name.startswith(f"{model.base_model_prefix}.")
