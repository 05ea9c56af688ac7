"""Damaged artifacts, and students and folders given to the other verbs."""

from __future__ import annotations

from tests.bad_input.scene import RUN, Case, Change, flip, put, remove, truncate

RUNS = "runs/base"
AGAIN = f"{RUN} --set steps.student.distill.epochs=2"


def empty(name: str) -> Change:
    """Make a folder with nothing in it."""
    return lambda root: (root / name).mkdir(parents=True)


CASES = [
    Case(
        "a bit flipped in the teacher's weights",
        AGAIN,
        (f"{RUNS}/teacher/model.safetensors", "does not match its recorded SHA-256", "run its step again"),
        flip(f"{RUNS}/teacher/model.safetensors"),
    ),
    Case(
        "a truncated corpus",
        AGAIN,
        (f"{RUNS}/corpus/train.parquet", "bytes where the manifest says", "run its step again"),
        truncate(f"{RUNS}/corpus/train.parquet"),
    ),
    Case(
        "a missing file of an artifact",
        AGAIN,
        (f"{RUNS}/teacher/config.json", "missing"),
        remove(f"{RUNS}/teacher/config.json"),
    ),
    Case(
        "a pickle inside an artifact",
        AGAIN,
        (f"{RUNS}/teacher/pytorch_model.bin", "a pickle", "Remove it"),
        put(f"{RUNS}/teacher/pytorch_model.bin", b"\x80\x04."),
    ),
    Case(
        "a damaged artifact that is finished",
        RUN,
        (f"{RUNS}/int8/model.onnx", "does not match its recorded SHA-256"),
        flip(f"{RUNS}/int8/model.onnx"),
    ),
    Case(
        "verify of a flipped bit",
        f"verify {RUNS}/student",
        (f"{RUNS}/student/model.safetensors", "SHA-256"),
        flip(f"{RUNS}/student/model.safetensors"),
    ),
    Case(
        "verify of a damaged manifest",
        f"verify {RUNS}/student",
        (f"{RUNS}/student/manifest.json", "damaged"),
        truncate(f"{RUNS}/student/manifest.json"),
    ),
    Case("verify of nothing", "verify nowhere", ("nowhere", "no such folder")),
    Case(
        "verify of a folder that is no artifact",
        "verify data",
        ("data", "not an artifact", "a folder that a step wrote"),
    ),
    Case("predict with a student that is not there", "predict nowhere text", ("nowhere", "folder")),
    Case("predict with a corpus", f"predict {RUNS}/corpus text", (f"{RUNS}/corpus",)),
    Case(
        "predict with a damaged graph",
        f"predict {RUNS}/int8 text",
        (f"{RUNS}/int8/model.onnx",),
        flip(f"{RUNS}/int8/model.onnx"),
    ),
    Case(
        "predict with truncated weights",
        f"predict {RUNS}/student text",
        (f"{RUNS}/student/model.safetensors",),
        truncate(f"{RUNS}/student/model.safetensors"),
    ),
    Case("predict with an unknown engine", f"predict {RUNS}/int8 text --engine onx", ("onx", 'did you mean "onnx"?')),
    Case(
        "predict with an engine that the folder has no form for",
        f"predict {RUNS}/int8 text --engine torch",
        (f"{RUNS}/int8", "has no form for the engine torch", "engine=auto"),
    ),
    Case("predict without a text", f"predict {RUNS}/int8", ("give either texts or --file",)),
    Case("predict of an empty text", f'predict {RUNS}/int8 ""', ("input 0", "is empty")),
    Case(
        "predict with a file that is not there",
        f"predict {RUNS}/int8 --file nowhere.txt",
        ("nowhere.txt", "no such file"),
    ),
    Case(
        "predict with a broken line",
        f"predict {RUNS}/int8 --file rows.jsonl",
        ("rows.jsonl:1", "not valid JSON"),
        put("rows.jsonl", '{"text": \n'),
    ),
    Case(
        "predict with a row without text",
        f"predict {RUNS}/int8 --file rows.jsonl",
        ("rows.jsonl:1", "came keys txt"),
        put("rows.jsonl", '{"txt": "a"}\n'),
    ),
    Case(
        "predict with no threads", f"predict {RUNS}/int8 text --threads 0", ("--threads", "greater than or equal to 1")
    ),
    Case(
        "report of an empty folder",
        "report hollow",
        ("hollow", "holds no finished step", "compress run"),
        empty("hollow"),
    ),
    Case("report of nothing", "report nowhere", ("nowhere", "no such folder")),
    Case(
        "bench of a model that is not there",
        f"bench nowhere/at/all --corpus {RUNS}/corpus --out measured",
        ("nowhere/at/all", "no such folder"),
    ),
    Case(
        "bench without its corpus",
        f"bench {RUNS}/teacher --corpus nowhere --out measured",
        ("nowhere", "no such file or folder"),
    ),
    Case(
        "bench into a file",
        f"bench {RUNS}/teacher --corpus {RUNS}/corpus --out blocked",
        ("blocked", "choose another"),
        put("blocked", "mine"),
    ),
    Case("report into a file", f"report {RUNS} --out blocked", ("blocked", "choose another"), put("blocked", "mine")),
    Case(
        "init under a file", "init --data data --out blocked/r.yaml", ("blocked", "choose another"), put("blocked", "x")
    ),
    Case("list of an unknown kind", "list losss", ("'losss' is not a kind of method", 'did you mean "loss"?')),
    Case("explain of an unknown method", "explain loss hidden_msee", ("hidden_msee", 'did you mean "hidden_mse"?')),
    Case("init over a file", "init --data data --out recipe.yaml", ("recipe.yaml", "exists", "not overwritten")),
    Case("init from nothing", "init --data nowhere --out new.yaml", ("nowhere",)),
    Case("a verb that the command does not have", "distil recipe.yaml", ("distil",)),
]
