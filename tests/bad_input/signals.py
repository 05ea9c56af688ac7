"""Wrong `label` steps, and signals that do not fit the student."""

from __future__ import annotations

from pathlib import Path

from tests.bad_input.recipes import SET, STUDENT
from tests.bad_input.scene import RUN, Case, Change, both, compress, edit, inside

LABEL = "steps.labelled.label"


def labelled(options: str = "") -> Change:
    """A `label` step above the student, which uses it."""
    step = f"  labelled:\n    label: {{corpus: $corpus, teacher: $teacher, device: cpu, precision: fp32{options}}}\n"
    return edit("  student:\n    distill:\n", f"{step}  student:\n    distill:\n      signals: $labelled\n")


def damaged(root: Path) -> None:
    """A finished label step with one bit flipped in its shard."""
    with inside(root):
        done = compress(f"{RUN} --until labelled")
    assert done.code == 0, done.err
    (path,) = [p for p in (root / "runs/base/labelled").glob("*.safetensors") if p.name != "index.safetensors"]
    content = bytearray(path.read_bytes())
    content[-9] ^= 4
    path.write_bytes(bytes(content))


CASES = [
    Case(
        "a layer that the teacher lacks",
        RUN,
        (LABEL, "keep.hidden: the teacher has no layer 3", "it has 0 to 2"),
        labelled(", keep: {hidden: [3, 6]}"),
    ),
    Case(
        "a split that the corpus lacks",
        RUN,
        (LABEL, "has no unlabeled split", "train, dev"),
        labelled(", splits: [train, unlabeled]"),
    ),
    Case(
        "a split that does not exist",
        RUN,
        (f"{LABEL}.splits[0]", "'train', 'dev', 'test' or 'unlabeled'"),
        labelled(", splits: [trian]"),
    ),
    Case(
        "signals that are a model",
        f'{SET} "{STUDENT}.signals=$teacher"',
        (f"{STUDENT}.signals", "expected a Signals, but $teacher makes a Model"),
    ),
    Case(
        "signals cut at another length",
        RUN,
        ("steps.student.distill", "made with the max_length 8, and this step's is 16", "label again"),
        labelled(", max_length: 8"),
    ),
    Case(
        "signals that lack what a loss reads",
        RUN,
        ("steps.student.distill", "hold hidden none; a loss wants 0, 2", "keep: {hidden: [0, 2]}"),
        both(labelled(), edit("losses: [logits_kl]", "losses: [{hidden_mse: {map: last}}]")),
    ),
    Case(
        "signals beside a live teacher",
        RUN,
        ("steps.student.distill", "signals: are not read when `teacher_mode` is live"),
        both(labelled(), edit("losses: [logits_kl]", "losses: [logits_kl]\n      teacher_mode: live")),
    ),
    Case(
        "a damaged shard",
        RUN,
        ("runs/base/labelled/", "does not match its recorded SHA-256", "run its step again"),
        both(labelled(), damaged),
    ),
]
