"""Pruning that cannot be."""

from __future__ import annotations

import json
from pathlib import Path

from tests.bad_input.models import without_head
from tests.bad_input.scene import RUN, Case, Change, both, config, edit, outside_teacher

END = "      method: {onnx: {scheme: dynamic}}\n"


def prune(options: str, model: str = "$teacher") -> Change:
    """A further step that prunes."""
    written = f"  small: {{prune: {{model: {model}, corpus: $corpus, {options}}}}}\n"
    return edit(END, END + written)


BACK = edit("teacher: ./model", "teacher: $teacher")
HALF = "what: [{heads: {ratio: 0.5}}, {ffn: {ratio: 0.5}}]"
PLACE = "recipe.yaml:34: steps.small.prune"


def whole_words(root: Path) -> None:
    """A tokenizer that takes words whole, of the same tokens."""
    path = root / "model/tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["model"] = {"type": "WordLevel", "vocab": tokenizer["model"]["vocab"], "unk_token": "[UNK]"}
    path.write_text(json.dumps(tokenizer))
    path = root / "model/tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "tokenizer_class": "PreTrainedTokenizerFast"}))


CASES = [
    Case("an int8 model to prune", RUN, (f"{PLACE}.model", "$int8", "give the float model"), prune(HALF, "$int8")),
    Case(
        "an int8 folder to prune",
        RUN,
        (PLACE, "runs/base/int8", "already int8 for the engine onnx", "give the float student"),
        prune(HALF, "runs/base/int8"),
    ),
    Case(
        "a model to prune that something else quantized",
        RUN,
        (PLACE, "./model: is quantized already (gptq); give the float model that it was made from"),
        both(
            outside_teacher(config(quantization_config={"quant_method": "gptq", "bits": 4})),
            BACK,
            prune(HALF, "./model"),
        ),
    ),
    Case(
        "a tokenizer that cannot be cut",
        RUN,
        (PLACE, "vocab: a tokenizer of the kind WordLevel cannot be cut; WordPiece, BPE, Unigram can"),
        both(outside_teacher(whole_words), BACK, prune("what: [{vocab: {}}]", "./model")),
    ),
    Case("a model to prune that is not there", RUN, (f"{PLACE}.model", "no such folder"), prune(HALF, "./nowhere")),
    Case(
        "a ratio in per cent",
        RUN,
        (f"{PLACE}.what[0].heads.ratio", "less than 1", "50"),
        prune("what: [{heads: {ratio: 50}}]"),
    ),
    Case(
        "every head to prune",
        RUN,
        (PLACE, "heads: 0.4 of 4 heads would stay", "every layer must keep 1", "nearest is a ratio of 0.5"),
        prune("what: [{heads: {ratio: 0.9}}], by: magnitude"),
    ),
    Case(
        "ratios for more layers than there are",
        RUN,
        (PLACE, "expected one for each of the model's 2 layers, came 3"),
        prune("what: [{ffn: {ratios: [0.5, 0.5, 0.5]}}], by: magnitude"),
    ),
    Case(
        "a ratio so small that nothing goes",
        RUN,
        (PLACE, "nothing would go", "ask for more to go"),
        prune("what: [{ffn: {ratio: 0.01}}], by: magnitude, spread: uniform"),
    ),
    Case("a part that nobody prunes", RUN, (f"{PLACE}.what[0]", 'did you mean "heads"'), prune("what: [{haeds: {}}]")),
    Case("no ratio and no target", RUN, (PLACE, "heads: how much goes?", "`target`"), prune("what: [{heads: {}}]")),
    Case(
        "a ratio and a target",
        RUN,
        (PLACE, "nothing is left for it to decide"),
        prune(f"{HALF}, target: {{parameters: 0.5}}"),
    ),
    Case(
        "two targets at once",
        RUN,
        (f"{PLACE}.target", "expected one of", "came parameters, speedup"),
        prune("what: [{heads: {}}], target: {parameters: 0.5, speedup: 2.0}"),
    ),
    Case(
        "a speed-up below one",
        RUN,
        (f"{PLACE}.target.speedup", "greater than 1"),
        prune("what: [{heads: {}}], target: {speedup: 0.5}"),
    ),
    Case(
        "parameters that cannot be reached",
        RUN,
        (PLACE, "100 parameters", "cannot be reached; nearest is", "every layer at 1 head and 8 neurons"),
        prune("what: [{heads: {}}, {ffn: {}}], by: magnitude, target: {parameters: 100}"),
    ),
    Case(
        "a criterion of layers for heads",
        RUN,
        (PLACE, "similarity cannot score heads", "fisher"),
        prune("what: [{heads: {ratio: 0.5}}], by: similarity"),
    ),
    Case(
        "tuning where there are no masks",
        RUN,
        (PLACE, "tune", "heads and neurons"),
        prune("what: [{depth: {ratio: 0.5}}], tune: true"),
    ),
    Case(
        "fisher without a trained head",
        RUN,
        (PLACE, "no head trained for this task", "magnitude"),
        both(outside_teacher(without_head), BACK, prune(HALF, "./model")),
    ),
    Case(
        "vocabulary with nothing to go by",
        RUN,
        (f"{PLACE}.what[0].vocab.keep", "no such file"),
        prune("what: [{vocab: {keep: ./nowhere.txt}}]"),
    ),
]
