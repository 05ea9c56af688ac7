"""What to measure and for how long; the keys of the `bench` step and of `compress bench`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from compress.bench.probes.base import PROBES, Probe
from compress.core.errors import InputError
from compress.core.options import Choice, Options, aside
from compress.core.sizes import bytes_of
from compress.runtime.engines.names import parse_engine

Positive = Annotated[int, Field(ge=1)]


def amount(text: str) -> str:
    """The text as it is, when it says an amount of memory. Raises ValueError."""
    bytes_of(text)
    return text


def default_probes() -> list[Probe]:
    """Every probe of the catalogue, in the order in which they run."""
    return sorted((PROBES.get(name)() for name in PROBES.names()), key=lambda probe: probe.order)


class BenchOptions(Options):
    """Options that every way to start a benchmark shares."""

    split: Literal["test", "dev", "train"] | None = Field(
        None, description="rows that are timed and scored; default test when the corpus has one, else dev"
    )
    batch_sizes: list[Positive] = Field([1, 8, 32], description="texts per request", min_length=1)
    lengths: list[Annotated[int, Field(ge=4)]] = Field(
        [16, 64, 128], description="tokens per text of the grid, cut to what the models take; [] for none"
    )
    engine: str | dict[str, str] = Field(
        "auto",
        description="torch, onnx, openvino (with variants such as torch:bf16) or auto, for all or {name: engine}",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto is cuda only when it is present and every subject can run there"
    )
    threads: Positive | None = Field(None, description="threads of each subject; default every core of the cgroup")
    seconds: float = Field(
        1.0, gt=0, description="time for each cell and subject; less when the median is known within 2 %"
    )
    rounds: int | None = Field(
        None,
        ge=3,
        description="blocks into which that time is cut, interleaved across subjects; null: 20 to 100 for latency, by "
        "how long a request takes, and 10 for throughput",
    )
    processes: Positive = Field(
        3, description="fresh processes of each subject among which its latency is measured, one after the other: a "
        "process is a few per cent faster or slower than the next for as long as it lives",
    )  # fmt: skip
    fits: list[Annotated[str, AfterValidator(amount)]] = Field(
        default_factory=list, description="memory limits to run every subject under, such as 256MB; says yes or no"
    )
    limit: Positive | None = Field(2000, description="rows that are scored, and drawn from for timing; null for all")
    timeout: float = aside(300.0, "seconds until a subject that does not answer is given up", gt=0)
    probes: list[Annotated[Probe, Choice(PROBES)]] = Field(
        default_factory=default_probes, description="what to measure; default everything", min_length=1
    )

    @field_validator("engine")
    @classmethod
    def _engine_is_known(cls, engine: str | dict[str, str]) -> str | dict[str, str]:
        for text in [engine] if isinstance(engine, str) else engine.values():
            try:
                parse_engine(text)
            except InputError as error:
                raise ValueError(str(error)) from None
        return engine

    @model_validator(mode="after")
    def _limits_are_tried(self) -> BenchOptions:
        if self.fits and not any(probe.registered_name == "fits" for probe in self.probes):
            raise ValueError("fits: expected the probe `fits` among `probes`, which runs the models under these limits")
        return self
