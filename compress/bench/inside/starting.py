"""A whole start in one call: imports, loading, the first answer. For processes that live for nothing else."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from compress.bench.inside.state import State
from compress.runtime.engines.base import import_engine
from compress.runtime.student import Student


def cold(state: State, folder: str, engine: str, family: str, threads: int, device: str, text: str) -> dict[str, float]:
    """Import, load and answer the input in the JSON file `text`; `since_imports`: seconds of the last two."""
    import_engine(engine, family)
    imported = time.perf_counter()
    state.device = device
    state.loaded = Student.load(folder, engine=engine, threads=threads, device=device)
    given: Any = json.loads(Path(text).read_text(encoding="utf-8"))
    state.student.predict([given], batch_size=1)
    state.synchronize()
    return {"since_imports": time.perf_counter() - imported}
