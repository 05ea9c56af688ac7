"""The options that every training step shares, as fields of the step itself: `class Teach(Step, TrainOptions)`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from compress.core.errors import Fault
from compress.core.options import Choice, Options, aside
from compress.train.trackers.base import TRACKERS, Tracker

Precision = Literal["auto", "fp32", "bf16"]
Device = Literal["auto", "cpu", "cuda"]
Schedule = Literal["linear", "cosine", "constant"]


class TrainOptions(Options):
    """How long, how fast and on what a model is trained."""

    epochs: float = Field(3.0, gt=0, description="Passes over the training split; a fraction is allowed")
    batch_size: int = Field(32, ge=1, description="Examples per forward pass, in each process of torchrun")
    accumulate: int = Field(1, ge=1, description="Batches whose gradients are averaged into one update")
    learning_rate: float = Field(5e-5, gt=0, le=1, description="Peak of AdamW's learning rate")
    schedule: Schedule = Field(
        "linear", description="How the learning rate goes from its peak: to 0 by a line or half a cosine, or constant"
    )
    warmup: float = Field(0.1, ge=0, lt=1, description="Share of the updates over which the learning rate rises from 0")
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="Each layer's learning rate as a share of the one above it; heads have all of it"
    )
    weight_decay: float = Field(0.01, ge=0, description="AdamW's decay of weights; biases and norms are left out")
    max_grad_norm: float = Field(1.0, ge=0, description="Gradients longer than this are scaled down to it; 0 never")
    ema: float = Field(
        0.0, ge=0, lt=1,
        description="Decay of a moving average of the weights, which dev judges and which is kept; 0 none. It takes "
        "the memory of the trained weights once more",
    )  # fmt: skip
    precision: Precision = Field(
        "auto", description="Arithmetic of the forward pass; auto is bf16 where the processor has it, else fp32"
    )
    gradient_checkpointing: bool = Field(
        False, description="Keep each layer's input only and compute the rest twice: less memory, about a third slower"
    )
    compile: bool = Field(False, description="Run the trained model through torch.compile; needs a C++ compiler")
    evaluate_per_epoch: int = Field(1, ge=1, description="Evaluations on dev per epoch; the best weights are kept")
    patience: int = Field(0, ge=0, description="Stop after this many evaluations without a gain; 0 never")
    device: Device = Field("auto", description="Where to train; auto is CUDA when there is one")
    trackers: list[Annotated[Tracker, Choice(TRACKERS)]] = aside(
        [], "Where the curves are sent while it trains: tensorboard, trackio, wandb; none by default"
    )
    checkpoint_minutes: float = aside(5.0, "Minutes between checkpoints, from which a broken run goes on; 0 none", ge=0)
    checkpoint_steps: int = aside(0, "Updates between checkpoints, besides the minutes; 0 none", ge=0)

    @model_validator(mode="after")
    def _fit_together(self) -> TrainOptions:
        if self.compile and self.gradient_checkpointing:
            raise ValueError(
                "compile and gradient_checkpointing exclude each other: a compiled layer that is computed twice cannot "
                "give its hidden states and queries to a loss. Leave one of them off"
            )
        return self

    def tracker_faults(self) -> list[Fault]:
        """Trackers whose package is not installed."""
        found = [(f"trackers[{at}].{one.registered_name}", one.missing()) for at, one in enumerate(self.trackers)]
        return [Fault(path, message) for path, message in found if message]
