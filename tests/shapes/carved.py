"""Tiny models of every family, cut by hand as a pruner would cut them: heads here, neurons there, one low rank."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    GPT2Config,
    PreTrainedModel,
    T5Config,
)
from transformers.pytorch_utils import Conv1D

from compress.anatomy.base import ANATOMIES, Anatomy
from compress.shapes.low_rank import LowRankLinear
from tests.models import batch, tiny

ENCODERS = ("albert", "bert", "camembert", "deberta-v2", "distilbert", "electra", "mpnet", "roberta", "xlm-roberta")
FAMILIES = (*ENCODERS, "gpt2", "t5")
NEURONS, RANK = 24, 3


def stock(family: str, head: str = "classify") -> PreTrainedModel:
    """Two layers of width 16 with 4 heads and 32 neurons, in eval mode."""
    if family in ENCODERS:
        return tiny(family, layers=2, head=head)
    torch.manual_seed(0)
    if family == "gpt2":
        config: Any = GPT2Config(
            vocab_size=50, n_embd=16, n_layer=2, n_head=4, n_positions=20, pad_token_id=0, bos_token_id=1,
            eos_token_id=2, num_labels=3,
        )  # fmt: skip
        made: PreTrainedModel = AutoModelForSequenceClassification.from_config(config)
        return made.eval()
    config = T5Config(vocab_size=50, d_model=16, d_kv=4, d_ff=32, num_layers=2, num_heads=4, decoder_start_token_id=0)
    made = AutoModelForSeq2SeqLM.from_config(config)
    return made.eval()


def carved(family: str, head: str = "classify") -> PreTrainedModel:
    """The same with 2 heads less in the first layer, 8 neurons less in the last, and one product of two matrices."""
    return carve(stock(family, head))


def carve(model: PreTrainedModel) -> PreTrainedModel:
    """The same object, cut like that."""
    family = model.config.model_type
    if family == "gpt2":
        _carve_gpt2(model)
    elif family == "t5":
        _carve_t5(model)
    else:
        anatomy: Any = ANATOMIES.get(family)
        cut_heads(model, anatomy, 2)
        cut_neurons(model, anatomy, -1, NEURONS)
        low_rank(anatomy().layer_list(model)[0], anatomy.attention_output)
    return model


def inputs_for(model: PreTrainedModel) -> dict[str, Tensor]:
    """A padded batch, with a beginning for the decoder where there is one."""
    given = batch(pad=int(model.config.pad_token_id or 0))
    if model.config.is_encoder_decoder:
        given["decoder_input_ids"] = given["input_ids"][:, :3]
    return given


def output(model: PreTrainedModel) -> Tensor:
    """Its logits on the batch; the answers' starts, where it answers."""
    with torch.inference_mode():
        given = model(**inputs_for(model))
    found: Tensor = given.start_logits if "start_logits" in given else given.logits
    return found


def cut_heads(model: PreTrainedModel, anatomy: type[Anatomy], heads: int) -> None:
    """Keep the first heads of the first layer (of all in MPNet, whose layers share a bias for each head)."""
    layers = anatomy().layer_list(model)
    shared = model.config.model_type == "mpnet"
    for layer in layers if shared else layers[:1]:
        holder: Any = layer.get_submodule(anatomy.query.rpartition(".")[0])
        size = holder.attention_head_size * heads
        for name in (anatomy.query, anatomy.key, anatomy.value):
            narrow(layer, name, outs=size)
        narrow(layer, anatomy.attention_output, ins=size)
        for name, value in (("num_attention_heads", heads), ("n_heads", heads), ("all_head_size", size)):
            if hasattr(holder, name):
                setattr(holder, name, value)
    if shared:
        encoder: Any = model.base_model.encoder
        encoder.relative_attention_bias = fewer_columns(encoder.relative_attention_bias, heads)
        encoder.n_heads = heads


def cut_neurons(model: PreTrainedModel, anatomy: type[Anatomy], layer: int, neurons: int) -> None:
    """Keep the first neurons of one layer (from 0)."""
    held = anatomy().layer_list(model)[layer]
    narrow(held, anatomy.ffn_in, outs=neurons)
    narrow(held, anatomy.ffn_out, ins=neurons)


def narrow(root: nn.Module, name: str, ins: int | None = None, outs: int | None = None) -> None:
    """Replace a matrix by its first input and output features."""
    old = root.get_submodule(name)
    weight, bias = old.get_parameter("weight").detach(), getattr(old, "bias", None)
    made: Any
    if isinstance(old, Conv1D):
        weight = weight[:ins, :outs]
        made = Conv1D(weight.shape[1], weight.shape[0])
    else:
        weight = weight[:outs, :ins]
        made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    made.weight = nn.Parameter(weight.clone())
    if bias is not None:
        made.bias = nn.Parameter(bias.detach()[:outs].clone())
    put(root, name, made)


def low_rank(root: nn.Module, name: str, rank: int = RANK) -> None:
    """Replace a Linear by a random product of two matrices."""
    old = root.get_submodule(name)
    assert isinstance(old, nn.Linear)
    made = LowRankLinear(old.in_features, old.out_features, rank, old.bias is not None)
    made.reset(std=0.3)
    put(root, name, made)


def fewer_columns(table: nn.Embedding, columns: int) -> nn.Embedding:
    """The first columns of a table."""
    made = nn.Embedding(table.num_embeddings, columns)
    made.weight = nn.Parameter(table.weight[:, :columns].detach().clone())
    return made


def put(root: nn.Module, name: str, module: nn.Module) -> None:
    """Set a module by its dotted name."""
    parent, _, leaf = name.rpartition(".")
    setattr(root.get_submodule(parent), leaf, module.eval())


def _carve_gpt2(model: PreTrainedModel) -> None:
    first, last = model.base_model.h[0], model.base_model.h[-1]
    held, made = first.attn.c_attn, Conv1D(24, 16)
    kept = torch.cat([torch.arange(8) + 16 * part for part in range(3)])
    made.weight = nn.Parameter(held.weight[:, kept].detach().clone())
    made.bias = nn.Parameter(held.bias[kept].detach().clone())
    first.attn.c_attn = made
    narrow(first, "attn.c_proj", ins=8)
    first.attn.num_heads, first.attn.split_size = 2, 8
    narrow(last, "mlp.c_fc", outs=NEURONS)
    narrow(last, "mlp.c_proj", ins=NEURONS)


def _carve_t5(model: PreTrainedModel) -> None:
    decoder: Any = model.decoder
    for block in decoder.block:  # a table of positions is theirs in common
        attention = block.layer[0].SelfAttention
        for name in ("q", "k", "v"):
            narrow(attention, name, outs=8)
        narrow(attention, "o", ins=8)
        attention.n_heads, attention.inner_dim = 2, 8
    first = decoder.block[0].layer[0].SelfAttention
    first.relative_attention_bias = fewer_columns(first.relative_attention_bias, 2)
    encoder: Any = model.encoder
    narrow(encoder.block[0].layer[1].DenseReluDense, "wi", outs=NEURONS)
    narrow(encoder.block[0].layer[1].DenseReluDense, "wo", ins=NEURONS)
    low_rank(encoder.block[1].layer[0].SelfAttention, "o")
