"""What a pruned model shall be: so many parameters or bytes, or so fast."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from compress.core.options import Options
from compress.core.sizes import bytes_of

PARAMETER_BYTES = 4  # float32
TIMED = ("latency", "speedup")
_MILLISECONDS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
_TIME = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(us|ms|s)\s*")


def milliseconds(text: str) -> float:
    """Milliseconds of `5ms`, `800us` or `0.1s`. Raises ValueError for anything else."""
    found = _TIME.fullmatch(text)
    if found is None or not float(found[1]) > 0:
        raise ValueError(f"expected a time such as 5ms, 800us or 0.1s, came {text!r}")
    return float(found[1]) * _MILLISECONDS[found[2]]


def _time(text: str) -> str:
    milliseconds(text)
    return text


def _amount(value: float | str) -> float | str:
    if isinstance(value, str):
        bytes_of(value)
    elif not 0 < value < 1:
        raise ValueError(f"expected a share between 0 and 1 or an amount such as 40MB, came {value!r}")
    return value


def _count(value: float) -> float:
    if not 0 < value < 1 and not (value >= 1 and value == int(value)):
        raise ValueError(f"expected a share between 0 and 1 or a whole number of parameters, came {value!r}")
    if value == 1:
        raise ValueError("expected a share below 1; 1 is the model as it is")
    return value


class Target(Options):
    """One of `parameters`, `size`, `latency` and `speedup`; the rest says what is timed, and how."""

    parameters: Annotated[float, AfterValidator(_count)] | None = Field(
        None, description="parameters of the result: a share of the reference's (0.5) or a number (11e6)"
    )
    size: Annotated[float | str, AfterValidator(_amount)] | None = Field(
        None, description="bytes of the float32 weights: a share of the reference's, or an amount such as 40MB"
    )
    latency: Annotated[str, AfterValidator(_time)] | None = Field(
        None, description="time of one request on this machine, such as 5ms"
    )
    speedup: float | None = Field(None, gt=1, description="time of the reference over time of the result")
    engine: Literal["onnx", "openvino", "torch"] = Field("onnx", description="what runs the model that is timed")
    batch: int = Field(1, ge=1, description="texts of a timed request")
    length: Annotated[int, Field(ge=4)] | Literal["corpus"] = Field(
        128, description="tokens of each text; corpus: whole requests on the corpus's own texts, tokenization included"
    )
    threads: int | None = Field(None, ge=1, description="threads; null: every core of the cgroup")
    seconds: float = Field(1.0, gt=0, description="measuring time of each model")

    @model_validator(mode="after")
    def _one_aim(self) -> Target:
        named = [name for name in ("parameters", "size", *TIMED) if getattr(self, name) is not None]
        if len(named) != 1:
            came = ", ".join(named) or "none"
            raise ValueError(f"expected one of parameters, size, latency and speedup, came {came}")
        given = [name for name in ("engine", "batch", "length", "threads", "seconds") if name in self.model_fields_set]
        if given and not self.timed:
            raise ValueError(f"{', '.join(given)}: say how a model is timed, and {named[0]} is counted; leave them out")
        return self

    @property
    def aim(self) -> str:
        """Which of the four it is."""
        return next(name for name in ("parameters", "size", *TIMED) if getattr(self, name) is not None)

    @property
    def timed(self) -> bool:
        """Whether the model must be timed."""
        return self.aim in TIMED

    def parameters_of(self, reference: int) -> int:
        """The number of parameters that `parameters` or `size` allows. reference: parameters that shares are of."""
        wanted = self.parameters if self.size is None else self.size
        if isinstance(wanted, str):
            return bytes_of(wanted) // PARAMETER_BYTES
        assert wanted is not None, "a timed target has no parameters"
        return int(wanted * reference) if wanted < 1 else int(wanted)

    def milliseconds_of(self, reference: float) -> float:
        """The time that `latency` or `speedup` allows. reference: ms of the model that it is a speed-up over."""
        if self.latency is not None:
            return milliseconds(self.latency)
        assert self.speedup is not None, "a counted target has no time"
        return reference / self.speedup
