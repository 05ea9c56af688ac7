"""The subject's stopwatch, with a clock that the test winds."""

from __future__ import annotations

from compress.bench.inside.timing import back_to_back, passes, timed, warm_up


class Clock:
    """A clock that stands still but for what the calls put on it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.synchronized = 0

    def __call__(self) -> float:
        return self.now

    def take(self, seconds: float) -> None:
        self.now += seconds

    def synchronize(self) -> None:
        self.synchronized += 1


def test_a_request_is_timed_from_idle_device_to_idle_device() -> None:
    """Without synchronisation on both sides a GPU's queueing is timed, not its work."""
    clock = Clock()
    assert timed(lambda: clock.take(0.25), clock.synchronize, clock) == 0.25
    assert clock.synchronized == 2


def test_a_block_is_whole_passes_and_at_least_one() -> None:
    """Half a pass would let a slow subject answer only the texts that come first."""
    clock = Clock()
    calls = [lambda: clock.take(1.0), lambda: clock.take(3.0)]
    assert passes(calls, 0.5, clock.synchronize, clock) == [1.0, 3.0]
    assert passes(calls, 5.0, clock.synchronize, clock) == [1.0, 3.0, 1.0, 3.0]


def test_warm_up_ends_when_the_times_have_settled() -> None:
    """Counting the first, slow calls would charge start-up to every request."""
    clock = Clock()
    slow = iter([9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0])
    durations = warm_up([lambda: clock.take(next(slow, 1.0))], 1000.0, clock.synchronize, clock)
    assert durations[-5:] == [1.0] * 5
    assert 15 <= len(durations) <= 18


def test_warm_up_ends_when_its_time_is_up() -> None:
    """A request of seconds must not be repeated ten times before it counts."""
    clock = Clock()
    assert warm_up([lambda: clock.take(2.0)], 1.0, clock.synchronize, clock) == [2.0]


def test_a_stream_waits_for_the_device_at_its_ends_only() -> None:
    """Synchronising after every batch measures latency; not synchronising at the end measures queueing."""
    clock = Clock()
    done, seconds = back_to_back([lambda: clock.take(1.0), lambda: clock.take(3.0)], 5.0, clock.synchronize, clock)
    assert (done, seconds, clock.synchronized) == (4, 8.0, 2)
