"""Factorization that cannot be."""

from __future__ import annotations

from tests.bad_input.models import without_head
from tests.bad_input.scene import RUN, Case, Change, both, edit, outside_teacher

END = "      method: {onnx: {scheme: dynamic}}\n"
PLACE = "recipe.yaml:34: steps.small.factorize"


def factorize(method: str, model: str = "$teacher", name: str = "small") -> Change:
    """A further step that factorizes."""
    written = f"  {name}: {{factorize: {{model: {model}, corpus: $corpus, method: {{{method}}}}}}}\n"
    return edit(END, END + written)


NARROW = "embedding_svd: {width: 8}"
LOW = "low_rank: {budget: 0.5}"

CASES = [
    Case(
        "an int8 model to factorize", RUN, (f"{PLACE}.model", "$int8", "give the float model"), factorize(LOW, "$int8")
    ),
    Case(
        "an int8 folder to factorize",
        RUN,
        (PLACE, "runs/base/int8", "already int8 for the engine onnx", "give the float student"),
        factorize(LOW, "runs/base/int8"),
    ),
    Case(
        "a model to factorize that is not there", RUN, (f"{PLACE}.model", "no such folder"), factorize(LOW, "./nowhere")
    ),
    Case(
        "a budget in per cent",
        RUN,
        (f"{PLACE}.method.low_rank.budget", "less than 1", "50"),
        factorize("low_rank: {budget: 50}"),
    ),
    Case(
        "a budget and a rank",
        RUN,
        (f"{PLACE}.method.low_rank", "expected `rank: {ratio: 0.5}` or `budget: 0.5`, came both"),
        factorize("low_rank: {budget: 0.5, rank: {rank: 4}}"),
    ),
    Case(
        "an energy above one",
        RUN,
        (f"{PLACE}.method.embedding_svd.energy", "less than 1"),
        factorize("embedding_svd: {energy: 1.5}"),
    ),
    Case(
        "no width of tables",
        RUN,
        (f"{PLACE}.method.embedding_svd", "expected one of width, energy and ratio, came none"),
        factorize("embedding_svd: {}"),
    ),
    Case(
        "tables as wide as they are",
        RUN,
        (PLACE, "tables of width 32 are not narrower than the model's", "below 32"),
        factorize("embedding_svd: {width: 32}"),
    ),
    Case(
        "more groups than layers",
        RUN,
        (PLACE, "3 do not share 2 layers evenly; use one of 1"),
        factorize("share_layers: {groups: 3}"),
    ),
    Case(
        "ranks that save nothing",
        RUN,
        (PLACE, "no matrix would shrink", "up to rank 15", "Use a smaller rank"),
        factorize("low_rank: {rank: {rank: 30}}"),
    ),
    Case(
        "narrow tables after low rank",
        RUN,
        (
            "recipe.yaml:35: steps.next.factorize.model",
            "no stock architecture holds",
            "let embedding_svd come before it",
        ),
        both(factorize(NARROW, "$small", "next"), factorize(LOW)),
    ),
    Case(
        "a model to factorize without a head",
        RUN,
        (PLACE, "lacks trained weights for its task", "train it first"),
        both(outside_teacher(without_head), edit("teacher: ./model", "teacher: $teacher"), factorize(LOW, "./model")),
    ),
    Case(
        "a way to factorize that nobody knows",
        RUN,
        (f"{PLACE}.method", "is not a known factorizer", 'did you mean "low_rank"'),
        factorize("lowrank: {}"),
    ),
]
