"""How much arithmetic an answer takes, how much of it runs in int8, and where the parameters are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from compress.bench.flops import Work, of_graph, of_weights
from compress.bench.isolation import RequestError
from compress.bench.launch import ask
from compress.bench.measures import absent, measure
from compress.bench.probes.base import PROBES, Probe
from compress.bench.sources import Subject
from compress.bench.weights import part_of, readable, tensors_of
from compress.bench.zeros import zeros_share
from compress.core.errors import InputError
from compress.runtime.folder import read_json

if TYPE_CHECKING:
    from compress.bench.desk import Desk, Running

FLOPS, SHARE = "per text", "share"
COUNTED = (".safetensors", ".onnx")
NO_MATRIX = "it stores no dense matrix"


@PROBES.register("compute")
class Compute(Probe):
    """FLOPs of one text of the corpus's mean length, and the shares that say why int8 or pruning did not help.

    Counted are matrix products, from the shapes of the stored weights or of the ONNX graph; a multiply-add is two
    FLOPs. `int8_share` is the share of them that runs in int8, `embedding_share` the share of parameters that are
    looked up and never multiplied, `zeros_share` the share of zeros in stored dense matrices.
    """

    order: ClassVar[int] = 42

    def measure(self, desk: Desk) -> None:
        """Ask each subject how long the texts are, then look at its files."""
        for running in desk.alive():
            with desk.watch(running):
                try:
                    length = float(ask(desk, running, "working:lengths", desk.options.timeout)["mean"])
                except RequestError as error:
                    running.report["compute"] = _blank(str(error))
                    continue
                running.report["compute"] = compute_of(running.subject, length, desk.task.registered_name)

    def missing(self, running: Running) -> None:
        """No counts for a subject that failed."""
        running.report["compute"] = _blank(f"the subject {running.report['status']}")


def compute_of(subject: Subject, length: float, task: str) -> dict[str, Any]:
    """The `compute` of a subject, from its files; blank where they do not tell."""
    path = subject.weights[0]
    if not readable(path):
        return _blank(f"{path.suffix} files are not counted")
    found: dict[str, Any] = {"tokens": measure(length, "tokens"), "embedding_share": _embedding_share(path)}
    try:
        work = _work(subject, max(round(length), 1), task)
        zeros = zeros_share(path)
    except (ValueError, InputError) as error:
        return {**_blank(str(error)), **found}
    found["flops"] = measure(work.flops, FLOPS)
    found["int8_share"] = measure(work.int8_share, SHARE)
    found["zeros_share"] = absent(SHARE, NO_MATRIX) if zeros is None else measure(zeros, SHARE)
    return found


def _embedding_share(path: Path) -> dict[str, Any]:
    learnt = [one for one in tensors_of(path) if one.weight]
    total = sum(one.elements for one in learnt)
    tables = sum(one.elements for one in learnt if part_of(one.name) == "embeddings")
    return measure(tables / total, SHARE) if total else absent(SHARE, NO_MATRIX)


def _work(subject: Subject, length: int, task: str) -> Work:
    path = subject.weights[0]
    if path.suffix not in COUNTED:
        raise ValueError(f"the products of {path.suffix} files are not counted")
    if path.suffix == ".onnx":
        return of_graph(path, length)
    return of_weights(path, length, task, read_json(subject.folder / "config.json"))


def _blank(why: str) -> dict[str, Any]:
    names = ("int8_share", "embedding_share", "zeros_share")
    return {"flops": absent(FLOPS, why), **{name: absent(SHARE, why) for name in names}}
