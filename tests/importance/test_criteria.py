"""The formula of every criterion against numbers worked out by hand or by a plain loop."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.anatomy.base import structure_of
from compress.core.errors import JobError
from compress.importance.activation import Activation
from compress.importance.base import Batch, Evidence
from compress.importance.fisher import Fisher, slopes_of_texts
from compress.importance.hessian import Hessian
from compress.importance.magnitude import Magnitude, size_of_heads, size_of_neurons
from compress.importance.masks import Masks, masked, ones
from compress.importance.matrices import HeadMatrices, head_matrices
from compress.importance.random import Random
from compress.importance.rearrange import swapped
from compress.importance.similarity import Similarity
from compress.importance.slopes import total_loss
from compress.importance.taylor import Taylor
from tests.importance.tools import evidence, labelled, row_by_row, task_loss
from tests.models import prunable, tiny

FEED = "bert.encoder.layer.{}.output.dense"
ATTENTION = "bert.encoder.layer.{}.attention.output.dense"
BOTH = frozenset({"heads", "neurons"})


def read_by(model: PreTrainedModel, name: str, batches: list[Batch]) -> Tensor:
    """What a part reads of real tokens, `[n, i]` float64."""
    rows: list[Tensor] = []
    hook = model.get_submodule(name).register_forward_pre_hook(lambda module, inputs: rows.append(inputs[0]))
    real = []
    with torch.no_grad():
        for batch in batches:
            model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
            real.append(rows[-1][batch["attention_mask"].bool()])
    hook.remove()
    return torch.cat(real).double()


def test_magnitude_by_hand() -> None:
    """Prevents rows taken for columns, and a norm that is another."""
    two = torch.tensor([[3.0, 4.0], [0.0, 2.0]])  # two heads of width 1, or two neurons
    matrices = HeadMatrices(query=two, key=two, value=two, output=torch.tensor([[1.0, 2.0], [0.0, -2.0]]))
    assert torch.allclose(size_of_heads(matrices, 2), torch.tensor([5 * 1 + 25.0, 2 * math.sqrt(8) + 4]))
    assert torch.allclose(size_of_heads(matrices, 2, "l1"), torch.tensor([7 * 1 + 49.0, 2 * 4 + 4.0]))
    assert torch.allclose(size_of_heads(matrices, 1), torch.tensor([math.sqrt(29) * 3 + 29]))
    assert torch.allclose(size_of_neurons(two, matrices.output), torch.tensor([5.0, 2 * math.sqrt(8)]))
    assert torch.allclose(size_of_neurons(two, matrices.output, "l1"), torch.tensor([7.0, 8.0]))


def test_magnitude_of_a_gated_neuron_is_the_mean_of_its_rows() -> None:
    """Prevents a gate that is left out: T5's neurons have two rows."""
    model = prunable("t5")
    (feed, *_) = structure_of(model).ffn_blocks(model)
    one, two, out = (model.get_submodule(name).get_parameter("weight") for name in (*feed.inputs, feed.output))
    found = Magnitude().score(model, frozenset({"neurons"}), Evidence()).neurons[feed.name]
    assert len(feed.inputs) == 2
    assert torch.allclose(found, (one.norm(dim=1) * two.norm(dim=1)).sqrt() * out.norm(dim=0), rtol=1e-5)


def test_a_fused_matrix_is_taken_apart() -> None:
    """Prevents GPT-2's queries read as values: it holds all three side by side, turned."""
    model = prunable("gpt2")
    block = structure_of(model).attention_blocks(model)[1]
    fused = model.get_submodule(block.inputs[0]).get_parameter("weight")
    found = head_matrices(model, block)
    assert torch.equal(found.key, fused[:, 16:32].T) and torch.equal(found.value, fused[:, 32:].T)
    assert torch.equal(found.output, model.get_submodule(block.output).get_parameter("weight").T)


def test_random_follows_the_seed() -> None:
    """Prevents the one draw that all seeds share, and equal numbers in all layers."""
    model = tiny("bert", layers=2)
    one, two, again = (Random().score(model, BOTH, Evidence(seed=seed)) for seed in (1, 2, 1))
    assert torch.equal(one.heads[ATTENTION.format(0)], again.heads[ATTENTION.format(0)])
    assert not torch.equal(one.heads[ATTENTION.format(0)], two.heads[ATTENTION.format(0)])
    assert not torch.equal(one.neurons[FEED.format(0)], one.neurons[FEED.format(1)])


def plain_slopes(model: PreTrainedModel, name: str, one: Batch) -> Tensor:
    """dL/dm of one text by the masks of one block, by finite differences in float64."""
    model = model.double()
    found = []
    for part in range(len(ones(model).heads.get(name, ones(model).neurons.get(name)))):  # type: ignore[arg-type]
        sides = []
        for step in (1e-4, -1e-4):
            masks = ones(model)
            (masks.heads | masks.neurons)[name][part] += step
            with torch.no_grad(), masked(model, masks):
                outputs = model(input_ids=one["input_ids"], attention_mask=one["attention_mask"])
                sides.append(task_loss(outputs, one))
        found.append((sides[0] - sides[1]) / 2e-4)
    model.float()
    return torch.stack(found)


@pytest.mark.parametrize("family", ["bert", "albert"])
def test_taylor_and_fisher_are_means_over_texts_of_their_own_slopes(family: str) -> None:
    """Prevents gradients of a batch's mean, which cancel, scaled by its size, or of one run of a shared layer."""
    model = tiny(family, layers=2)
    given = evidence(model)
    structure = structure_of(model)
    block, feed = structure.attention_blocks(model)[0], structure.ffn_blocks(model)[-1]
    texts = row_by_row(list(given.batches))
    heads = torch.stack([plain_slopes(model, block.name, one) for one in texts])
    neurons = torch.stack([plain_slopes(model, feed.name, one) for one in texts])
    first, second = Taylor().score(model, BOTH, given), Fisher().score(model, BOTH, given)
    assert torch.allclose(first.heads[block.name].double(), heads.abs().mean(0), rtol=1e-3, atol=1e-6)
    assert torch.allclose(second.heads[block.name].double(), heads.square().mean(0), rtol=1e-3, atol=1e-8)
    assert torch.allclose(second.neurons[feed.name].double(), neurons.square().mean(0), rtol=1e-3, atol=1e-8)
    assert torch.allclose(slopes_of_texts(model, given)[feed.name].double(), neurons, rtol=1e-3, atol=1e-6)


def test_a_layer_counts_what_its_parts_do_together() -> None:
    """Prevents a layer whose parts cancel from counting as much as one whose parts add up."""
    model = tiny("bert", layers=2)
    given = evidence(model)
    slopes = slopes_of_texts(model, given)
    sums = torch.stack([slopes[ATTENTION.format(n)].sum(1) + slopes[FEED.format(n)].sum(1) for n in (0, 1)], 1)
    wanted = frozenset({"layers"})
    assert torch.allclose(Fisher().score(model, wanted, given).layers, sums.square().mean(0))  # type: ignore[arg-type]
    assert torch.allclose(Taylor().score(model, wanted, given).layers, sums.abs().mean(0))  # type: ignore[arg-type]


def test_a_weight_counts_its_own_slope_in_every_text() -> None:
    """Prevents squares of a batch's gradient in place of the mean of squares."""
    model = tiny("bert", layers=1)
    given = evidence(model)
    weight = model.get_submodule(FEED.format(0)).get_parameter("weight")
    total = torch.zeros_like(weight)
    texts = row_by_row(list(given.batches))
    for one in texts:
        loss = task_loss(model(input_ids=one["input_ids"], attention_mask=one["attention_mask"]), one)
        total += (weight * torch.autograd.grad(loss, weight)[0]).square()
    found = Fisher().score(model, frozenset({"weights"}), given).weights[f"{FEED.format(0)}.weight"]
    assert torch.allclose(found, (total / len(texts)).detach(), rtol=1e-3, atol=1e-9)


def test_a_loss_counts_every_output_the_same() -> None:
    """Prevents a text that counts less in a larger batch, and words without a label that count."""
    mean = torch.tensor(2.0)
    assert total_loss(mean, labelled(tiny("bert", layers=1))) == 6
    tags = {"input_ids": torch.zeros(2, 3), "labels": torch.tensor([[1, -100, 2], [0, 1, -100]]),
            "outputs": torch.tensor([[True, True, True], [True, False, True]])}  # fmt: skip
    assert total_loss(mean, tags) == 6
    many = {"input_ids": torch.zeros(2, 3), "labels": torch.tensor([[1, 0], [-100, -100]]),
            "outputs": torch.tensor([True, True])}  # fmt: skip
    assert total_loss(mean, many) == 2


def test_activation_is_the_mean_square_of_what_a_part_adds() -> None:
    """Prevents sums over padding, heads cut at the wrong features, and Wanda's norm over the wrong axis."""
    model = tiny("bert", layers=2)
    batches = list(evidence(model).batches)
    found = Activation().score(model, BOTH | {"weights"}, Evidence(batches=batches))
    read = read_by(model, ATTENTION.format(1), batches)
    weight = model.get_submodule(ATTENTION.format(1)).get_parameter("weight").detach().double()
    added = [(read[:, e : e + 4] @ weight[:, e : e + 4].T).square().sum(1).mean() for e in range(0, 16, 4)]
    assert torch.allclose(found.heads[ATTENTION.format(1)].double(), torch.stack(added), rtol=1e-4)
    wanda = weight.abs() * read.square().mean(0).sqrt()
    assert torch.allclose(found.weights[f"{ATTENTION.format(1)}.weight"].double(), wanda, rtol=1e-4)
    read = read_by(model, FEED.format(0), batches)
    weight = model.get_submodule(FEED.format(0)).get_parameter("weight").detach().double()
    added = [(read[:, j, None] * weight[:, j]).square().sum(1).mean() for j in range(32)]
    assert torch.allclose(found.neurons[FEED.format(0)].double(), torch.stack(added), rtol=1e-4)


def test_hessian_is_the_error_after_the_best_repair() -> None:
    """Prevents an inverse of the wrong block: what a least squares refit of all other columns leaves, to the number."""
    model = tiny("bert", layers=1)
    batches = [labelled(model, rows=9, tokens=8) for _ in range(2)]
    draw = torch.Generator().manual_seed(3)
    for batch in batches:
        batch["input_ids"].copy_(torch.randint(5, 50, (9, 8), generator=draw))  # type: ignore[attr-defined]
    found = Hessian(damping=1e-7).score(model, BOTH | {"weights"}, Evidence(batches=batches))
    for name, width, scores in ((ATTENTION.format(0), 4, found.heads), (FEED.format(0), 1, found.neurons)):
        read = read_by(model, name, batches)
        weight = model.get_submodule(name).get_parameter("weight").detach().double()
        for part in (0, 3):
            gone = slice(part * width, (part + 1) * width)
            others = torch.cat([read[:, : gone.start], read[:, gone.stop :]], 1)
            refit = torch.linalg.lstsq(others, read @ weight.T).solution
            left = (others @ refit - read @ weight.T).square().sum(1).mean()
            assert float(scores[name][part]) == pytest.approx(float(left), rel=2e-2)
    name = f"{FEED.format(0)}.weight"
    assert torch.allclose(found.weights[name].sum(0), found.neurons[FEED.format(0)], rtol=1e-5)


def test_hessian_refuses_broken_states() -> None:
    """Prevents a ranking by NaN."""
    model = tiny("bert", layers=1)
    model.get_submodule("bert.encoder.layer.0.intermediate.dense").get_parameter("bias").data[0] = float("nan")
    with pytest.raises(JobError, match="NaN or infinite"):
        Hessian().score(model, BOTH, evidence(model))


def test_similarity_is_how_far_a_layer_turns_a_state() -> None:
    """Prevents states of the wrong layers, and padding that counts."""
    model = tiny("bert", layers=3)
    given = evidence(model)
    turned = []
    for batch in given.batches:
        with torch.no_grad():
            outputs = model(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], output_hidden_states=True
            )
        real, states = batch["attention_mask"].bool(), outputs.hidden_states
        pairs = pairwise(states)
        turned.append(torch.stack([1 - nn.functional.cosine_similarity(a[real], b[real], dim=-1) for a, b in pairs]))
    found = Similarity().score(model, frozenset({"layers"}), given).layers
    assert found is not None and torch.allclose(found, torch.cat(turned, 1).mean(1), atol=1e-5)


def test_swaps_follow_what_parts_do_together() -> None:
    """Prevents a choice by each part alone: two parts that cancel cost nothing together, and may go."""
    slopes = torch.tensor([[1.0, -1.0, 0.5, 0.6], [2.0, -2.0, 0.5, 0.6]])
    fisher = slopes.T @ slopes / 2
    together = torch.tensor([0.0, 0.0, 1.0, 1.0])
    # By the diagonal the last two go, which costs 1.21; with the second in place of the third 1.06, then the first: 0.
    assert torch.equal(swapped(torch.tensor([1.0, 1.0, 0.0, 0.0]), fisher), together)
    assert torch.equal(swapped(torch.tensor([1.0, 0.0, 0.0, 1.0]), fisher), together)
    apart = torch.diag(torch.tensor([1.0, 3.0, 2.0, 4.0]))
    assert torch.equal(swapped(torch.tensor([0.0, 1.0, 0.0, 1.0]), apart), torch.tensor([0.0, 1.0, 0.0, 1.0]))
    assert torch.equal(swapped(torch.ones(4), fisher), torch.ones(4))


def test_fisher_rearranges_within_blocks_and_together() -> None:
    """Prevents counts that change, and blocks that share their positions from keeping other heads."""
    model = tiny("mpnet", layers=2)
    given = evidence(model)
    masks = ones(model)
    for mask in masks.heads.values():
        mask[:2] = 0
    for mask in masks.neurons.values():
        mask[::2] = 0
    found = Fisher().refine(model, masks, given)
    slopes = slopes_of_texts(model, given)
    assert found.kept() == masks.kept()
    one, two = found.heads.values()
    assert torch.equal(one, two)
    for name in masks.neurons:
        lost = [(slopes[name] @ (1 - m.neurons[name])).square().mean() for m in (masks, found)]
        assert lost[1] < lost[0]
    assert Fisher(rearrange=False).refine(model, masks, given) is masks
    assert Magnitude().refine(model, masks, given) is masks
    assert isinstance(found, Masks)
