"""The small files by which sentence-transformers opens a folder: which modules there are, and how it pools."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compress.core.artifact import write_json

_MODES = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens"}
_MODULE = "sentence_transformers.models."


def write_sentence_files(folder: Path, options: Mapping[str, Any], width: int, max_length: int) -> None:
    """Write modules.json, 1_Pooling/config.json and sentence_bert_config.json. options: of the task `embed`."""
    parts = [("", "Transformer"), ("1_Pooling", "Pooling")]
    parts += [("2_Normalize", "Normalize")] if options["normalize"] else []
    modules = [
        {"idx": at, "name": str(at), "path": path, "type": _MODULE + kind} for at, (path, kind) in enumerate(parts)
    ]
    write_json(folder / "modules.json", modules)
    modes = {f"pooling_mode_{name}": mode == options["pooling"] for mode, name in _MODES.items()}
    (folder / "1_Pooling").mkdir(exist_ok=True)
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": width, **modes})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": max_length, "do_lower_case": False})
