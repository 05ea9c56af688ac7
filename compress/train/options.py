"""The options that every training step shares, as fields of the step itself: `class Teach(Step, TrainOptions)`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from compress.core.options import Options, aside

Precision = Literal["auto", "fp32", "bf16"]
Device = Literal["auto", "cpu", "cuda"]


class TrainOptions(Options):
    """How long, how fast and on what a model is trained."""

    epochs: float = Field(3.0, gt=0, description="Passes over the training split; a fraction is allowed")
    batch_size: int = Field(32, ge=1, description="Examples per forward pass")
    accumulate: int = Field(1, ge=1, description="Batches whose gradients are averaged into one update")
    learning_rate: float = Field(5e-5, gt=0, le=1, description="Peak of AdamW's learning rate, decayed linearly to 0")
    warmup: float = Field(0.1, ge=0, lt=1, description="Share of the updates over which the learning rate rises from 0")
    weight_decay: float = Field(0.01, ge=0, description="AdamW's decay of weights; biases and norms are left out")
    max_grad_norm: float = Field(1.0, ge=0, description="Gradients longer than this are scaled down to it; 0 never")
    precision: Precision = Field(
        "auto", description="Arithmetic of the forward pass; auto is bf16 where the processor has it, else fp32"
    )
    evaluate_per_epoch: int = Field(1, ge=1, description="Evaluations on dev per epoch; the best weights are kept")
    patience: int = Field(0, ge=0, description="Stop after this many evaluations without a gain; 0 never")
    device: Device = Field("auto", description="Where to train; auto is CUDA when there is one")
    checkpoint_minutes: float = aside(5.0, "Minutes between checkpoints, from which a broken run goes on; 0 none", ge=0)
    checkpoint_steps: int = aside(0, "Updates between checkpoints, besides the minutes; 0 none", ge=0)
