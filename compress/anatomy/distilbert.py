"""DistilBERT (Sanh et al. 2019, arXiv 1910.01108): BERT without token types and pooler, other names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from transformers import PreTrainedModel

from compress.anatomy.base import ANATOMIES, Anatomy


@ANATOMIES.register("distilbert")
class DistilBert(Anatomy):
    """Post-norm encoder with absolute positions; its sequence head has a dense layer of its own."""

    embeddings: ClassVar[str] = "embeddings"
    word_embeddings: ClassVar[str] = "embeddings.word_embeddings"
    position_embeddings: ClassVar[str] = "embeddings.position_embeddings"
    embedding_norm: ClassVar[str] = "embeddings.LayerNorm"
    layers: ClassVar[str] = "transformer.layer"
    query: ClassVar[str] = "attention.q_lin"
    key: ClassVar[str] = "attention.k_lin"
    value: ClassVar[str] = "attention.v_lin"
    attention_output: ClassVar[str] = "attention.out_lin"
    attention_norm: ClassVar[str] = "sa_layer_norm"
    ffn_in: ClassVar[str] = "ffn.lin1"
    ffn_out: ClassVar[str] = "ffn.lin2"
    ffn_norm: ClassVar[str] = "output_layer_norm"
    hidden_pooler: ClassVar[str] = "pre_classifier"
    head_activation: ClassVar[str] = "relu"
    output_layer: ClassVar[str] = "classifier"
    mask_dense: ClassVar[str] = "vocab_transform"
    mask_norm: ClassVar[str] = "vocab_layer_norm"
    mask_bias: ClassVar[str] = "vocab_projector.bias"
    head_counts: ClassVar[tuple[str, ...]] = ("n_heads",)
    head_features: ClassVar[tuple[str, ...]] = ()
    config_names: ClassVar[dict[str, str]] = {
        "layers": "n_layers",
        "width": "dim",
        "heads": "n_heads",
        "ffn": "hidden_dim",
    }

    def keep_layers(self, model: PreTrainedModel, kept: Sequence[int]) -> None:
        """The stack keeps their number beside the config."""
        super().keep_layers(model, kept)
        stack: Any = model.base_model.get_submodule(self.layers.rpartition(".")[0])
        stack.n_layers = len(kept)
