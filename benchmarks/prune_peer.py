"""What raw torch-pruning makes of the teacher: magnitude, the same share of heads and neurons in every layer."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

STEP = 0.01
BESIDE = range(-12, 4, 2)  # hundredths of the predicted share; single cuts are mostly faster than the fit says
Shape = tuple[int, int]


def peer(options: argparse.Namespace, shape: Shape, folder: Path) -> Path:
    """A student folder of the teacher with these heads and neurons in every layer; made once for each shape."""
    from compress.core.artifact import MANIFEST, read_manifest

    heads, neurons = shape
    key = f"{heads} heads, {neurons} neurons"
    if (folder / MANIFEST).is_file() and read_manifest(folder)["key"] == key:
        return folder
    return _saved(options, heads, neurons, key, folder)


def shapes_near(ours: dict[str, Any]) -> list[Shape]:
    """Shapes about as fast as ours by the fitted latency table, those that are slower and those that are faster.

    ours: the manifest of the `prune` step.
    """
    facts = ours["about"]["pruned"]["heads+ffn"]
    heads, neurons = max(facts["heads"]["before"]), max(facts["neurons"]["before"])
    share = share_of(facts["target"], ours)
    found = {counts_of(min(max(share + step / 100, STEP), 1 - STEP), heads, neurons) for step in BESIDE}
    return sorted(found - {(heads, neurons)})


def nearest(speeds: dict[Shape, float], wanted: float) -> Shape:
    """The shape whose speed is nearest to the wanted one, in proportion."""
    return min(speeds, key=lambda shape: abs(math.log(speeds[shape] / wanted)))


def share_of(target: dict[str, Any], ours: dict[str, Any]) -> float:
    """The least share of every layer's heads and neurons whose predicted time is that which ours was measured at."""
    facts = ours["about"]["pruned"]["heads+ffn"]
    heads, neurons = max(facts["heads"]["before"]), max(facts["neurons"]["before"])
    allowed = target["reference_ms"] / target["measured"]["speedup"]
    for share in np.arange(STEP, 1.0, STEP):
        counts = counts_of(float(share), heads, neurons)
        time = target["fit"]["base_ms"] + target["fit"]["layer_ms"] * len(facts["neurons"]["before"])
        time += float(np.interp(counts[0], *zip(*target["fit"]["heads_ms"], strict=True)))
        time += float(np.interp(counts[1], *zip(*target["fit"]["neurons_ms"], strict=True)))
        if time <= allowed:
            return float(share)
    return 1 - STEP


def counts_of(share: float, heads: int, neurons: int) -> tuple[int, int]:
    """Heads and neurons that stay of a layer, neurons as multiples of 8."""
    return max(1, round((1 - share) * heads)), max(8, round((1 - share) * neurons / 8) * 8)


def ratios_of(heads: int, neurons: int, all_heads: int, all_neurons: int) -> tuple[float, float]:
    """The ratios from which torch-pruning makes exactly these counts of a layer that has `all_...` of them.

    It takes ceil(ratio x heads) heads, and keeps int((1 - ratio) x neurons) neurons, rounded down to a multiple of 8:
    half a part beside a count is safe from rounding. Nothing goes at 0.
    """
    head_ratio = (all_heads - heads - 0.5) / all_heads if heads < all_heads else 0.0
    neuron_ratio = 1 - (neurons + 0.5) / all_neurons if neurons < all_neurons else 0.0
    return head_ratio, neuron_ratio


def _saved(options: argparse.Namespace, heads: int, neurons: int, key: str, folder: Path) -> Path:
    """Cut, settle into a class that loads, save as a step would."""
    from compress.core.artifact import ArtifactWriter
    from compress.corpora.corpus import Corpus
    from compress.shapes.settle import settle
    from compress.train.folder import load_model, save_student

    loaded = load_model(options.teacher, "AutoModelForSequenceClassification")
    cut(loaded.model, heads, neurons, str(options.torch_pruning))
    corpus = Corpus.open(next(iter(sorted(options.out.glob("prune-b-*/corpus")))))
    writer = ArtifactWriter(folder)
    about = save_student(
        settle(loaded.model), loaded.tokenizer, writer.open(), task=corpus.task, labels=corpus.labels,
        max_length=loaded.max_length, golden_rows=corpus.texts("dev")[:4],
    )  # fmt: skip
    return writer.commit({"kind": "Model", "step": "torch-pruning", "key": key, "about": about, "measured": {}})


def cut(model: Any, kept_heads: int, kept_neurons: int, installed: str) -> None:
    """torch-pruning 1.6.1 on a BERT, in place: fresh dictionaries every time, heads as whole heads, sizes set after it.

    Its defaults are mutable and leak from one model into the next, and a ratio of 0 for all would disable the heads.
    Raises SystemExit when it makes other counts than these.
    """
    import torch

    if installed not in sys.path:
        sys.path.insert(0, installed)
    import torch_pruning as tp

    body = model.base_model
    layers = [layer.attention.self for layer in body.encoder.layer]
    heads = {
        linear: int(attention.num_attention_heads)
        for attention in layers
        for linear in (attention.query, attention.key, attention.value)
    }
    embeddings = [
        part for part in body.embeddings.modules() if isinstance(part, torch.nn.Embedding | torch.nn.LayerNorm)
    ]
    kept = [model.classifier, *embeddings, *([body.pooler.dense] if body.pooler is not None else [])]
    feeds = [layer.intermediate.dense for layer in body.encoder.layer]
    before = next(iter(heads.values())), int(feeds[0].out_features)
    head_ratio, neuron_ratio = ratios_of(kept_heads, kept_neurons, *before)
    inputs = {"input_ids": torch.ones(2, 8, dtype=torch.long), "attention_mask": torch.ones(2, 8, dtype=torch.long)}
    pruner = tp.pruner.BasePruner(
        model, inputs, importance=tp.importance.MagnitudeImportance(p=2),
        pruning_ratio=1e-9, head_pruning_ratio=head_ratio, pruning_ratio_dict=dict.fromkeys(feeds, neuron_ratio),
        num_heads=heads, prune_num_heads=True, prune_head_dims=False, out_channel_groups={}, in_channel_groups={},
        ignored_layers=[*kept, *(layer.output.dense for layer in body.encoder.layer)], round_to=8,
        output_transform=lambda outputs: outputs.logits.sum(),
    )  # fmt: skip
    pruner.step()
    for attention in layers:
        width = int(attention.attention_head_size)
        attention.num_attention_heads = attention.query.out_features // width
        attention.all_head_size = attention.query.out_features
    made = {(int(one.num_attention_heads), int(feed.out_features)) for one, feed in zip(layers, feeds, strict=True)}
    if made != {(kept_heads, kept_neurons)}:
        raise SystemExit(
            f"torch-pruning: {kept_heads} heads and {kept_neurons} neurons were wanted of every layer, it made "
            f"{sorted(made)}; the comparison would not be of equal speed (written for torch-pruning 1.6.1)"
        )
