"""The latency model: what it makes of a table, by hand."""

from __future__ import annotations

import pytest

from compress.prune.latency import Measured, Shape, fit, shapes_to_time


def measured(heads: int, neurons: int, milliseconds: float, layers: int = 2) -> Measured:
    """A line of the table of a uniform model."""
    return Measured((heads,) * layers, (neurons,) * layers, milliseconds)


def test_shapes_vary_one_part_at_a_time_and_both_at_the_ends() -> None:
    """A table from which heads and neurons cannot be told apart, or that never saw the smallest model."""
    found = shapes_to_time(range(1, 13), range(8, 1537, 8))
    assert found[0] == Shape(12, 1536) and Shape(1, 8) in found and Shape(6, 768) in found
    assert {shape.heads for shape in found} == {1, 3, 6, 9, 12}
    assert {shape.neurons for shape in found} == {8, 384, 768, 1152, 1536}
    assert len(found) == len(set(found)) == 11
    assert shapes_to_time((4,), (8, 16)) == [Shape(4, 16), Shape(4, 8)]


def test_an_additive_machine_is_found_exactly() -> None:
    """A fit that spreads a layer's time over the wrong part."""
    shapes = shapes_to_time((1, 2, 3, 4), (8, 16, 24, 32))
    made = fit([measured(s.heads, s.neurons, 2 + 0.5 * s.heads + 0.1 * s.neurons) for s in shapes])
    assert made.error < 1e-9
    assert made.attention(4) - made.attention(1) == pytest.approx(0.75)  # one of two layers
    assert made.ffn(28) - made.ffn(8) == pytest.approx(1.0)
    assert made.base == pytest.approx(2 + 0.5 + 0.8)
    assert made.total([4, 1], [32, 16]) == pytest.approx(2 + 0.5 * 2.5 + 0.1 * 24)


def test_layers_that_differ_are_counted_one_by_one() -> None:
    """An uneven model whose table is read as if all its layers were like the largest."""

    def time(heads: tuple[int, ...], neurons: tuple[int, ...]) -> float:
        return 1 + 0.2 * sum(heads) + 0.01 * sum(neurons)

    lines = [((4, 2), (32, 16)), ((2, 2), (32, 16)), ((1, 1), (32, 16)), ((4, 2), (16, 16)), ((4, 2), (8, 8))]
    made = fit([Measured(heads, neurons, time(heads, neurons)) for heads, neurons in lines])
    assert made.total([3, 1], [32, 8]) == pytest.approx(time((3, 1), (32, 8)))


def test_noise_never_makes_fewer_parts_slower() -> None:
    """A search that keeps more because a noisy table says that more is faster."""
    lines = [(4, 32, 10.0), (2, 32, 10.3), (1, 32, 8.0), (4, 16, 7.0), (4, 8, 7.2), (1, 8, 5.0)]
    made = fit([measured(*line) for line in lines])
    heads = [made.attention(count) for count in range(1, 5)]
    neurons = [made.ffn(count) for count in range(8, 33)]
    assert heads == sorted(heads) and neurons == sorted(neurons)
    assert 0 < made.error < 0.1 and made.facts()["largest_error"] > 0


def test_models_of_other_depth_tell_what_a_layer_takes_besides() -> None:
    """A model with half the layers that is taken to be as slow as its norms would be with all of them."""

    def line(layers: int, heads: int, neurons: int) -> Measured:
        return measured(heads, neurons, 1 + layers * (0.5 + 0.2 * heads + 0.01 * neurons), layers)

    shapes = [(4, 4, 32), (4, 2, 32), (4, 1, 32), (4, 4, 16), (4, 4, 8), (4, 1, 8), (2, 4, 32), (1, 4, 32)]
    made = fit([line(*shape) for shape in shapes])
    assert made.error < 1e-9 and made.total([3] * 3, [24] * 3) == pytest.approx(line(3, 3, 24).milliseconds)
