"""Wrong teachers, students and losses."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

from tests.bad_input.recipes import SET, STUDENT
from tests.bad_input.scene import RUN, Case, both, config, edit, outside_teacher, put, remove, truncate

WEIGHTS = "model/model.safetensors"


def nan_weights(root: Path) -> None:
    """A teacher whose training broke."""
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(root / WEIGHTS)
    name = next(name for name in tensors if name.endswith("query.weight"))
    tensors[name] = torch.full_like(tensors[name], float("nan"))
    save_file(tensors, root / WEIGHTS, metadata={"format": "pt"})


def without_head(root: Path) -> None:
    """A body that was never fine-tuned."""
    from safetensors.torch import load_file, save_file

    tensors = {name: tensor for name, tensor in load_file(root / WEIGHTS).items() if "classifier" not in name}
    save_file(tensors, root / WEIGHTS, metadata={"format": "pt"})


def random_head(root: Path) -> None:
    """A checkpoint whose head says the same for every text."""
    from safetensors.torch import load_file, save_file

    tensors = {k: t * 0 if "classifier" in k else t for k, t in load_file(root / WEIGHTS).items()}
    save_file(tensors, root / WEIGHTS, metadata={"format": "pt"})


def other_tokens(root: Path) -> None:
    """A tokenizer in which two tokens changed places."""
    path = root / "model/tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    first, second = [token for token in vocabulary if not token.startswith("[")][-2:]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    path.write_text(json.dumps(tokenizer))


def more_tokens(root: Path) -> None:
    """A tokenizer of a larger model."""
    path = root / "model/tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary |= {f"token{number}": len(vocabulary) + number for number in range(500)}
    path.write_text(json.dumps(tokenizer))


def pickled(root: Path) -> None:
    """Weights as torch.save writes them."""
    (root / WEIGHTS).unlink()
    (root / "model/pytorch_model.bin").write_bytes(pickle.dumps({"weights": [1.0]}))


START = edit("losses: [logits_kl]", "losses: [logits_kl]\n      start: ./model")
SAME_TEACHER = edit("teacher: ./model", "teacher: $teacher")

CASES = [
    Case(
        "a teacher with the labels in another order",
        RUN,
        ("recipe.yaml:20: steps.student.distill", "model", "order", "labels:"),
        outside_teacher(config(id2label={"0": "good", "1": "bad"}, label2id={"good": 0, "bad": 1})),
    ),
    Case(
        "a teacher of other labels",
        RUN,
        ("steps.student.distill", "model", "['up', 'down']", "must be the same"),
        outside_teacher(config(id2label={"0": "up", "1": "down"}, label2id={"up": 0, "down": 1})),
    ),
    Case(
        "a teacher that was never fine-tuned",
        RUN,
        ("model", "has no trained head", "`teach` step first"),
        outside_teacher(without_head),
    ),
    Case(
        "a teacher no better than chance",
        RUN,
        ("model", "a constant answer gets 0.5", "Train it longer"),
        outside_teacher(random_head),
    ),
    Case("a teacher with NaN in its weights", RUN, ("model", "NaN"), outside_teacher(nan_weights)),
    Case(
        "a teacher that is not there",
        f"{SET} {STUDENT}.teacher=./nowhere",
        ("recipe.yaml:22", "nowhere", "no such folder"),
    ),
    Case("a hub name without a hub", f"{SET} {STUDENT}.teacher=some-org/some-model", ("some-org/some-model", "local")),
    Case(
        "a teacher to fine-tune that is not there",
        f"{SET} steps.teacher.teach.model=./nowhere",
        ("recipe.yaml:11", "nowhere", "no such folder"),
    ),
    Case(
        "a folder without config.json",
        RUN,
        ("model", "no config.json", "save_pretrained"),
        outside_teacher(remove("model/config.json")),
    ),
    Case(
        "a config.json that is not JSON",
        RUN,
        ("model/config.json", "not readable as JSON"),
        outside_teacher(put("model/config.json", "{")),
    ),
    Case("an unknown architecture", RUN, ("model", "telepath"), outside_teacher(config(model_type="telepath"))),
    Case("a family that is not supported", RUN, ("model",), outside_teacher(config(model_type="gpt2"))),
    Case(
        "a pickle where weights should be",
        RUN,
        ("model/pytorch_model.bin", "a pickle", "never loaded", "safetensors"),
        outside_teacher(pickled),
    ),
    Case(
        "a pickle under the name of safetensors",
        RUN,
        (WEIGHTS, "a pickle", "never loaded"),
        outside_teacher(put(WEIGHTS, pickle.dumps({"weights": [1.0] * 100}))),
    ),
    Case(
        "truncated weights",
        RUN,
        (WEIGHTS, "truncated or damaged", "copy the folder again"),
        outside_teacher(truncate(WEIGHTS)),
    ),
    Case("no weights", RUN, ("model", "no model.safetensors"), outside_teacher(remove(WEIGHTS))),
    Case(
        "weights of another shape than the config",
        RUN,
        ("model", "intermediate.dense", "do not belong together"),
        outside_teacher(config(intermediate_size=48)),
    ),
    Case(
        "an embedding of another size than the config",
        RUN,
        ("model", "word_embeddings", "do not belong together"),
        outside_teacher(config(vocab_size=3)),
    ),
    Case(
        "a vocabulary that does not fit the embedding",
        RUN,
        ("model", "tokenizer knows", "and the model only", "do not belong together"),
        outside_teacher(more_tokens),
    ),
    Case(
        "a start whose vocabulary is another",
        f'{SET} "{STUDENT}.tokenizer={{wordpiece: {{size: 90}}}}"',
        ("model", "vocabulary", "is not that of `tokenizer`", "leave `tokenizer` out"),
        both(outside_teacher(other_tokens), SAME_TEACHER, START),
    ),
    Case(
        "a start of another shape",
        RUN,
        ("model", "is not of the student's shape"),
        both(outside_teacher(), SAME_TEACHER, START),
    ),
    Case(
        "a layer map past the teacher",
        f'{SET} "{STUDENT}.losses=[{{hidden_mse: {{map: [[1, 3]]}}}}]"',
        ("recipe.yaml:20: steps.student.distill", "names teacher layer 3", "0 (embeddings) to 2"),
    ),
    Case(
        "a layer map past the student",
        f'{SET} "{STUDENT}.losses=[{{attention_mse: {{map: [[2, 2]]}}}}]"',
        ("recipe.yaml:20: steps.student.distill", "names student layer 2", "0 (embeddings) to 1"),
    ),
    Case(
        "more layers than the teacher",
        f"{SET} {STUDENT}.student.distilbert.layers=3",
        ("recipe.yaml:20: steps.student.distill", "the student has 3 layers, the teacher 2", "shallower student"),
    ),
    Case(
        "a map that copies the embeddings as a layer",
        f"{SET} {STUDENT}.student.distilbert.map=[[0,0]]",
        ("recipe.yaml:20: steps.student.distill", "map:", "layers 1 to 1 once", "came [[0, 0]]"),
    ),
    Case(
        "a map that leaves a layer random",
        f'{SET} "{STUDENT}.student={{distilbert: {{layers: 2, map: [[1, 1]]}}}}"',
        ("recipe.yaml:20: steps.student.distill", "map:", "layers 1 to 2 once", "came [[1, 1]]"),
    ),
    Case(
        "a map that copies two layers into one",
        f"{SET} {STUDENT}.student.distilbert.map=[[1,1],[1,2]]",
        ("recipe.yaml:20: steps.student.distill", "map:", "once"),
    ),
    Case(
        "no layers",
        f"{SET} {STUDENT}.student.distilbert.layers=0",
        ("recipe.yaml:23: steps.student.distill.student.distilbert.layers", "expected greater than or equal to 1"),
    ),
    Case(
        "a wider student than the weights to truncate",
        f'{SET} "{STUDENT}.student={{tinybert: {{layers: 1, width: 64, heads: 2, init: truncated}}}}"',
        ("recipe.yaml:20: steps.student.distill", "64"),
    ),
    Case(
        "longer inputs than the teacher has positions",
        f"{SET} {STUDENT}.max_length=4000",
        ("recipe.yaml:20: steps.student.distill", "max_length", "at most 16 tokens", "16 or less"),
    ),
    Case(
        "a softmax over one regression output",
        f"{RUN} --out runs/other",
        ("steps.student.distill", "logits_kl", "one output", "logits_mse"),
        both(
            edit("classify: {text: text, label: label}", "regress: {text: text, target: score}"),
            edit("epochs: 12", "epochs: 20"),
        ),
    ),
    Case(
        "a loss on rankings without queries",
        f"{SET} {STUDENT}.losses=[margin_mse]",
        ("margin_mse: compares the candidates of a query", "group: query_id"),
    ),
    Case(
        "a loss on pairs of embeddings in another task",
        f"{SET} {STUDENT}.losses=[hard_cosine]",
        ("hard_cosine: learns from pairs with a score", "this corpus has no pairs of texts to embed"),
    ),
    Case(
        "a squared error on classes",
        f"{SET} {STUDENT}.losses=[hard_mse]",
        ("steps.student.distill", "hard_mse", "class"),
    ),
    Case("CUDA where there is none", f"{SET} {STUDENT}.device=cuda", ("cuda", "`device: cpu`")),
    Case(
        "int8 of int8",
        RUN,
        ("recipe.yaml:35: steps.again.quantize.model", "$int8", "float", "quantize come last"),
        edit(
            "      method: {onnx: {scheme: dynamic}}\n",
            "      method: {onnx: {scheme: dynamic}}\n"
            "  again:\n    quantize: {model: $int8, corpus: $corpus, method: {onnx: {scheme: dynamic}}}\n",
        ),
    ),
]
