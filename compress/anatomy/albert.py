"""ALBERT (Lan et al. 2020, arXiv 1909.11942): factorized embeddings, and one stored layer that runs many times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import nn
from transformers import PreTrainedModel

from compress.anatomy.base import ANATOMIES, Anatomy
from compress.core.errors import InputError


@ANATOMIES.register("albert")
class Albert(Anatomy):
    """Post-norm encoder whose layers share their weights; the embedding norm acts in the small space."""

    embeddings: ClassVar[str] = "embeddings"
    word_embeddings: ClassVar[str] = "embeddings.word_embeddings"
    position_embeddings: ClassVar[str] = "embeddings.position_embeddings"
    token_type_embeddings: ClassVar[str] = "embeddings.token_type_embeddings"
    embedding_norm: ClassVar[str] = "embeddings.LayerNorm"
    embedding_projection: ClassVar[str] = "encoder.embedding_hidden_mapping_in"
    layers: ClassVar[str] = "encoder.albert_layer_groups"
    query: ClassVar[str] = "attention.query"
    key: ClassVar[str] = "attention.key"
    value: ClassVar[str] = "attention.value"
    attention_output: ClassVar[str] = "attention.dense"
    attention_norm: ClassVar[str] = "attention.LayerNorm"
    ffn_in: ClassVar[str] = "ffn"
    ffn_out: ClassVar[str] = "ffn_output"
    ffn_norm: ClassVar[str] = "full_layer_layer_norm"
    pooler: ClassVar[str] = "pooler"
    mask_dense: ClassVar[str] = "predictions.dense"
    mask_norm: ClassVar[str] = "predictions.LayerNorm"
    mask_bias: ClassVar[str] = "predictions.bias"

    def layer_list(self, model: PreTrainedModel) -> Sequence[nn.Module]:
        """One entry for each application: `num_hidden_layers` runs over the groups, each group's inner layers."""
        groups = model.base_model.get_submodule(self.layers)
        assert isinstance(groups, nn.ModuleList)
        runs = _runs(int(model.config.num_hidden_layers), len(groups))
        chosen = [groups[number].get_submodule("albert_layers") for number in runs]
        return [layer for group in chosen for layer in group.children()]

    def keep_layers(self, model: PreTrainedModel, kept: Sequence[int]) -> None:
        """Runs of groups; groups that no longer run go too.

        Raises InputError for a part of a group's run, and when the groups that stay would not run equally often.
        """
        groups = model.base_model.get_submodule(self.layers)
        assert isinstance(groups, nn.ModuleList)
        runs, inner = int(model.config.num_hidden_layers), int(model.config.inner_group_num)
        stay = [number for number in range(runs) if number * inner + 1 in kept]
        chosen = [_runs(runs, len(groups))[number] for number in stay]
        used = list(dict.fromkeys(chosen))
        stock = [used[number] for number in _runs(len(stay), len(used))]
        whole = [number * inner + layer + 1 for number in stay for layer in range(inner)]
        if whole != list(kept) or stock != chosen:
            raise InputError(
                f"an ALBERT of {runs} runs over {len(groups)} groups of {inner} cannot run the layers {list(kept)} "
                f"alone: its groups run whole, one after the other and equally often; keep as many runs of each group"
            )
        setattr(model.base_model.encoder, self.layers.rpartition(".")[2], nn.ModuleList([groups[one] for one in used]))
        self.write_config(model, layers=len(stay))
        for config in self.configs(model):
            config.num_hidden_groups = len(used)

    def best_layers(self, model: PreTrainedModel, ranked: Sequence[int], count: int) -> list[int]:
        """The first runs of as many groups as can run alone, the best of these; inner layers go with their group."""
        groups = len(list(model.base_model.get_submodule(self.layers).children()))
        inner = int(model.config.inner_group_num)
        owners, left = _runs(int(model.config.num_hidden_layers), groups), count // inner
        order = list(dict.fromkeys(owners[(number - 1) // inner] for number in ranked))
        for used in range(min(groups, left), 0, -1):
            stay = sorted(order[:used])
            wanted = [stay[number] for number in _runs(left, used)]
            if count % inner == 0 and all(wanted.count(group) <= owners.count(group) for group in stay):
                first = [owners.index(group) + wanted[:place].count(group) for place, group in enumerate(wanted)]
                return [run * inner + layer + 1 for run in first for layer in range(inner)]
        return super().best_layers(model, ranked, count)


def _runs(runs: int, groups: int) -> list[int]:
    """The group of each run, both from 0, as the stock class finds it."""
    return [int(run / (runs / groups)) for run in range(runs)]
