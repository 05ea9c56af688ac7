"""Where signals come from: the teacher by the content of its weights, its tokenizer, how rows were cut and run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from compress.core.errors import InputError
from compress.core.hashing import digest, file_sha256
from compress.core.options import Choice
from compress.tasks.base import Task


@dataclass(frozen=True)
class Origin:
    """What decides a signal besides the row.

    teacher: digest of weights and config, or `name@commit` of a hub model. tokenizer: digest of its vocabulary and
    rules. max_length: where rows were cut, in tokens. task: `{name: {options}}`, which reads logits and pools
    embeddings. precision: arithmetic of the forward pass, `fp32` or `bf16`.
    """

    teacher: str
    tokenizer: str
    max_length: int
    task: dict[str, Any]
    precision: str

    @classmethod
    def of(cls, source: str, commit: str, tokenizer: Any, max_length: int, task: Task, precision: str) -> Origin:
        """The origin of signals that the model of `source` (a folder, or a hub name at `commit`) gives."""
        return cls(
            model_identity(source, commit), tokenizer_identity(tokenizer), max_length, Choice.dump(task), precision
        )

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, for a manifest."""
        return asdict(self)

    def refuse_other(self, mine: Origin, name: str) -> None:
        """Raises InputError when signals of this origin cannot speak for a step of origin `mine`.

        The precision may differ: it rounds, and changes no meaning.
        """
        for what, theirs, own in (
            ("teacher", self.teacher, mine.teacher),
            ("tokenizer", self.tokenizer, mine.tokenizer),
            ("max_length", self.max_length, mine.max_length),
        ):
            if theirs != own:
                raise InputError(
                    f"{name}: made with the {what} {_short(theirs)}, and this step's is {_short(own)}; "
                    f"label again with this step's teacher and max_length, or give the step theirs"
                )


def model_identity(source: str, commit: str) -> str:
    """Digest of a folder's weights and config (other files, such as a manifest, say nothing), or `name@commit`."""
    folder = Path(source)
    if not folder.is_dir():
        return f"{source}@{commit}"
    files = [folder / "config.json", *sorted(folder.glob("*.safetensors"))]
    return digest([[path.name, file_sha256(path)] for path in files if path.is_file()])


def tokenizer_identity(tokenizer: Any) -> str:
    """Digest of a fast tokenizer without the truncation and padding of its last call."""
    held = json.loads(tokenizer.backend_tokenizer.to_str())
    return digest({name: value for name, value in held.items() if name not in ("truncation", "padding")})


def _short(value: str | int) -> str:
    text = str(value)
    return f"{text[:12]}..." if len(text) == 64 and "@" not in text else text
