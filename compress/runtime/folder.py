"""What a student folder carries: read and checked before any engine sees it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.core.artifact import MANIFEST, is_unsafe, verify
from compress.core.errors import InputError

MODULES, POOLING_FILE = "modules.json", "1_Pooling/config.json"
_POOLINGS = {
    "mean_tokens": "mean", "cls_token": "cls", "max_tokens": "max", "mean": "mean", "cls": "cls", "max": "max",
}  # fmt: skip
SENTENCES = "sentence_bert_config.json"
WEIGHTS, GRAPH, IR = "model.safetensors", "model.onnx", "openvino_model.xml"
_HEADS = (("ForSequenceClassification", "classify"), ("ForTokenClassification", "tag"), ("ForMaskedLM", "mask"),
          ("ForQuestionAnswering", "answer"))  # fmt: skip
_OFFSET_FAMILIES = ("roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "roberta-prelayernorm", "mpnet")


@dataclass(frozen=True)
class Carried:
    """A checked folder. about: the manifest's facts, or the same made from config.json of a plain Hugging Face folder.

    pairs: whether it was trained on pairs (None: not known). hashed: whether its files were checked by hash.
    """

    folder: Path
    about: dict[str, Any]
    config: dict[str, Any]
    tokenizer: dict[str, Any]
    hashed: bool

    @property
    def task(self) -> str:
        """The task's name."""
        return str(next(iter(self.about["task"])))

    @property
    def pairs(self) -> bool | None:
        """Whether inputs are pairs, when the folder tells; both are right for embeddings."""
        options = self.about["task"][self.task]
        if options is None or self.task in ("embed", "answer"):
            return None
        return options.get("text_pair") is not None

    def option(self, name: str, usual: Any) -> Any:
        """An option of the task, or what is usual where the folder does not tell."""
        return (self.about["task"][self.task] or {}).get(name, usual)


def read_folder(folder: Path) -> Carried:
    """Read a student folder. Raises InputError for one that is missing, incomplete, damaged or pickled."""
    if not folder.exists():
        raise InputError(f"{folder}: no such folder; give a student folder (a step of a run, such as runs/NAME/int8)")
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a student folder, came a file; give the folder that holds it")
    hashed = (folder / MANIFEST).is_file()
    about = dict(verify(folder, "Model").get("about", {})) if hashed else {}
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: not a student folder (it has no config.json)")
    config = read_json(folder / "config.json")
    if not (folder / "tokenizer.json").is_file():
        raise InputError(f"{folder}: has no tokenizer.json; save a fast tokenizer into it (AutoTokenizer does)")
    settings = folder / "tokenizer_config.json"
    tokenizer = read_json(settings) if settings.is_file() else {}
    about = _from_config(folder, config, tokenizer) | about
    _check_form(folder, about)
    return Carried(folder, about, config, tokenizer, hashed)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises InputError when the file is damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error}); copy the folder again") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON object, came a {type(value).__name__}; copy the folder again")
    return value


def folder_bytes(folder: Path) -> int:
    """Bytes of every file in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def check_safetensors(path: Path) -> int:
    """How many parameters a safetensors file holds. Raises InputError for a truncated file or another format.

    The format is 8 bytes of header length, a JSON header with the offsets of every tensor, then the tensors.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(9)
        length = int.from_bytes(start[:8], "little")
        whole = length <= size - 8
        # The length of a sound header may begin with these bytes, too: it does in one file of 32.
        if not (whole and start[8:] == b"{") and start.startswith((b"\x80", b"PK\x03\x04")):
            raise InputError(f"{path}: a pickle where weights should be; it is never loaded")
        stream.seek(8)
        if not whole:
            raise InputError(f"{path}: not a whole safetensors file (truncated?); copy the folder again")
        try:
            header = json.loads(stream.read(length))
            header.pop("__metadata__", None)
            end = max((int(tensor["data_offsets"][1]) for tensor in header.values()), default=0)
            held = sum(_product(tensor["shape"]) for tensor in header.values())
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise InputError(f"{path}: its header is damaged ({error}); copy the folder again") from error
    if size != 8 + length + end:
        raise InputError(f"{path}: {size} bytes where its header says {8 + length + end}; copy the folder again")
    return held


def _product(shape: list[int]) -> int:
    total = 1
    for size in shape:
        total *= int(size)
    return total


def _check_form(folder: Path, about: dict[str, Any]) -> None:
    """Each form that `about.engine` names has its file, and it is no pickle."""
    if not about["engine"]:
        pickles = [path.name for path in sorted(folder.iterdir()) if is_unsafe(path)]
        if pickles:
            raise InputError(f"{folder / pickles[0]}: a pickle where weights should be; it is never loaded")
        raise InputError(f"{folder}: has neither {WEIGHTS} nor {GRAPH} nor {IR}; give a folder that a step wrote")
    for engine, facts in about["engine"].items():
        path = folder / str(facts.get("file", ""))
        if not path.is_file():
            raise InputError(f"{path}: missing, though the folder says it holds a form for {engine}; copy it again")
        if path.suffix == ".safetensors":
            held = check_safetensors(path)
            about.setdefault("parameters", {"total": held})


def _from_config(folder: Path, config: dict[str, Any], tokenizer: dict[str, Any]) -> dict[str, Any]:
    """What a manifest would say, as far as a plain Hugging Face folder tells."""
    names = config.get("id2label") or {}
    labels = [str(names[key]) for key in sorted(names, key=int)]
    task = _task(folder, config, labels)
    engine: dict[str, Any] = {}
    if (folder / GRAPH).is_file():
        engine["onnx"] = {"file": GRAPH, "dtype": "unknown"}
    if (folder / IR).is_file():
        engine["openvino"] = {"file": IR, "dtype": "unknown"}
    if (folder / WEIGHTS).is_file():
        engine["torch"] = {"file": WEIGHTS, "dtype": "float32"}
    return {
        "task": {task: _pooling(folder) if task == "embed" else None},
        "labels": labels if task in ("classify", "multilabel", "tag") else [],
        "max_length": _longest(folder, config, tokenizer),
        "family": _family(config),
        "engine": engine,
        "inputs": _input_names(config, tokenizer),
    }


def _family(config: dict[str, Any]) -> str:
    """The stock model type; a model of uneven shapes names it beside its own."""
    return str(config.get("stock_model_type") or config.get("model_type") or "")


def _task(folder: Path, config: dict[str, Any], labels: list[str]) -> str:
    architecture = str((config.get("architectures") or [""])[0])
    for ending, task in _HEADS:
        if architecture.endswith(ending):
            if task == "mask" and (folder / MODULES).is_file():
                return "embed"  # config.json still names the head of the pretraining
            value = config.get("problem_type") == "regression" or len(labels) == 1
            if task == "classify" and config.get("problem_type") == "multi_label_classification":
                return "multilabel"
            return "regress" if task == "classify" and value else task
    if (folder / MODULES).is_file():
        return "embed"
    if (folder / MANIFEST).is_file():
        return "classify"
    raise InputError(
        f"{folder}: {architecture or 'its config.json'} has no head that is known; give a fine-tuned model"
    )


def _pooling(folder: Path) -> dict[str, Any]:
    """How a folder of sentence-transformers makes an embedding. Raises InputError for what is not known here."""
    path = folder / POOLING_FILE
    options = read_json(path) if path.is_file() else {}
    told = [
        name.removeprefix("pooling_mode_") for name, on in options.items() if name.startswith("pooling_mode_") and on
    ]
    mode = options.get("pooling_mode")  # newer versions name it, or a list of them
    told = told or ([mode] if isinstance(mode, str) else list(mode or ()))
    pooling = _POOLINGS.get(told[0]) if len(told) == 1 else None
    if pooling is None:
        known = ", ".join(_POOLINGS)
        raise InputError(f"{path}: pools by {' and '.join(told) or 'nothing'}, which is not known (known: {known}); "
                         "give a folder that pools by mean, cls or max")  # fmt: skip
    try:
        modules = [str(module["type"]) for module in json.loads((folder / MODULES).read_text(encoding="utf-8"))]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / MODULES}: damaged ({error}); copy the folder again") from error
    strange = [name for name in modules if name.rpartition(".")[2] not in ("Transformer", "Pooling", "Normalize")]
    if strange:
        raise InputError(
            f"{folder / MODULES}: has the part {strange[0]}, which is not known here; give a model of Transformer, "
            "Pooling and Normalize only"
        )
    return {"pooling": pooling, "normalize": any(name.endswith(".Normalize") for name in modules)}


def _longest(folder: Path, config: dict[str, Any], tokenizer: dict[str, Any]) -> int:
    positions = int(config.get("max_position_embeddings") or 512)
    if _family(config) in _OFFSET_FAMILIES:
        # These families count positions from the padding index + 1.
        positions -= int(config.get("pad_token_id") or 0) + 1
    told = folder / SENTENCES
    most = (read_json(told) if told.is_file() else {}).get("max_seq_length") or positions
    return min(positions, int(most), int(tokenizer.get("model_max_length") or positions))


def _input_names(config: dict[str, Any], tokenizer: dict[str, Any]) -> list[str]:
    known = tokenizer.get("model_input_names")
    if not known:
        token_types = int(config.get("type_vocab_size") or 0) > 1
        return ["input_ids", *(["token_type_ids"] if token_types else []), "attention_mask"]
    return [str(name) for name in known]
