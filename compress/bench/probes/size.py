"""How much disk a model takes, by part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from compress.bench.measures import absent, measure
from compress.bench.probes.base import PROBES, Probe
from compress.bench.sources import Subject
from compress.bench.weights import PARTS, part_of, readable, tensors_of
from compress.core.errors import InputError

if TYPE_CHECKING:
    from compress.bench.desk import Desk

CONFIG = ("config.json",)
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
# What makes up a tokenizer when there is no tokenizer.json; beside one these are copies that nothing reads.
SLOW_TOKENIZER = ("vocab.txt", "vocab.json", "merges.txt", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model")


@PROBES.register("size")
class Size(Probe):
    """Bytes of the files that running the model needs: weights, config.json and the tokenizer.

    README.md, golden.json, manifest.json and weights of other engines are left out. Weights are split by tensor name;
    `other` is config.json, file headers and, in ONNX, the graph with its constants.
    """

    order: ClassVar[int] = 40

    def measure(self, desk: Desk) -> None:
        """Look at the folder of every subject, failed ones too."""
        for running in desk.running:
            try:
                parts, count = sizes_of(running.subject), parameters_of(running.subject)
            except InputError as error:  # weights that are damaged: they have failed to load, and the others go on
                running.report["size"] = {"total": absent("bytes", str(error))}
                running.report["parameters"] = absent("parameters", str(error))
                continue
            running.report["size"] = {name: measure(size, "bytes") for name, size in parts.items()}
            running.report["parameters"] = measure(count, "parameters")
        whole = desk.reference.report["size"]["total"]["value"]
        for running in desk.running:
            own = running.report["size"]["total"]["value"]
            running.report["size_ratio"] = float(f"{whole / own:.6g}") if whole and own else None


def sizes_of(subject: Subject) -> dict[str, int]:
    """Bytes by part; `total` is the sum of the others."""
    parts = dict.fromkeys((*PARTS, "tokenizer", "other"), 0)
    for path in subject.weights:
        if readable(path):
            for tensor in tensors_of(path):
                if tensor.weight or "." in tensor.name:
                    parts[part_of(tensor.name)] += tensor.size
    names = [name for name in TOKENIZER if (subject.folder / name).is_file()]
    if "tokenizer.json" not in names:
        names += [name for name in SLOW_TOKENIZER if (subject.folder / name).is_file()]
    parts["tokenizer"] = sum((subject.folder / name).stat().st_size for name in names)
    configs = [subject.folder / name for name in CONFIG if (subject.folder / name).is_file()]
    files = sum(path.stat().st_size for path in {*subject.weights, *configs})
    parts["other"] = files - sum(parts[name] for name in PARTS)
    return {"total": sum(parts.values()), **parts}


def parameters_of(subject: Subject) -> int:
    """Learnt numbers: as the manifest says, else counted in the weights."""
    stated: Any = subject.about.get("parameters", {}).get("total")
    if stated:
        return int(stated)
    files = [path for path in subject.weights if readable(path)]
    return sum(tensor.elements for path in files for tensor in tensors_of(path) if tensor.weight)
