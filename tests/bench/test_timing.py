"""Statistics of interleaved timings, on a clock that the candidates themselves move. No real time is asserted."""

import itertools

import pytest

from depool.bench.timing import BLOCKS, LEAST_ROUNDS, Spread, Timings, interleaved


class World:
    """A clock, and candidates that take a given time on it."""

    def __init__(self, slow=lambda _now, _call: 1.0):
        self.now, self.log, self._slow = 0.0, [], slow

    def clock(self):
        return self.now

    def candidate(self, name, seconds):
        def call():
            self.log.append(name)
            self.now += seconds * self._slow(self.now, len(self.log))

        return call

    def candidates(self, **seconds):
        return {name: self.candidate(name, cost) for name, cost in seconds.items()}


def run(world, budget, turn, **seconds):
    return interleaved(world.candidates(**seconds), budget, turn=turn, clock=world.clock)


def test_spread_is_the_median_and_the_quartiles():
    assert Spread.of([5.0, 1.0, 3.0, 2.0, 4.0]) == Spread(3.0, 2.0, 4.0)
    assert Spread.of([7.0]) == Spread(7.0, 7.0, 7.0)


def test_ratio_is_taken_within_each_round():
    timings = Timings({"a": (1.0, 10.0, 4.0), "b": (5.0, 10.0, 4.0)})
    assert timings.ratio("b", "a") == Spread(1.0, 1.0, 3.0)  # of the medians it would be 5 / 4
    assert timings.time("b").median == 5.0
    assert timings.rounds == 3


def test_a_machine_that_gets_slower_changes_no_ratio():
    world = World(slow=lambda now, _call: 1 + now / 10)
    timings = run(world, 40.0, 0.01, a=0.001, b=0.003)
    times = timings.seconds["a"]
    assert max(times) > 3 * min(times)
    assert timings.ratio("b", "a").median == pytest.approx(3.0, rel=0.01)


def test_an_interruption_spoils_one_block_only():
    world = World(slow=lambda _now, call: 1000.0 if call % 11 == 0 else 1.0)
    timings = run(world, 20.0, 0.008, a=0.001, b=0.002)
    assert timings.ratio("b", "a").median == pytest.approx(2.0)
    assert timings.time("a").high == pytest.approx(0.001)


def test_every_round_has_each_candidate_once_and_an_order_of_its_own():
    world = World()
    timings = run(world, 0.0, 0.5, a=1.0, b=2.0, c=3.0)
    warm = 3 * 4
    rounds = [world.log[i : i + 3] for i in range(warm, len(world.log), 3)]
    assert [sorted(one) for one in rounds] == [["a", "b", "c"]] * LEAST_ROUNDS
    followers = {(first, second) for one in rounds for first, second in itertools.pairwise(one)}
    assert len(followers) > 3  # in turns, each would always follow the same
    assert timings.seconds["b"] == (2.0,) * LEAST_ROUNDS


def test_short_calls_fill_their_turn_and_long_ones_are_made_once():
    world = World()
    timings = run(world, 0.0, 1.0, short=0.001, long=5.0)
    assert world.log.count("long") == 4 + LEAST_ROUNDS
    per_round = (world.log.count("short") - 4) / LEAST_ROUNDS
    assert 1000 <= per_round <= 1000 + BLOCKS
    assert timings.time("short").median == pytest.approx(0.001)


def test_rounds_go_on_until_the_time_is_used_up():
    world = World()
    timings = run(world, 100.0, 1.0, a=1.0)
    assert timings.rounds == 100
    assert run(World(), 0.0, 1.0, a=1.0).rounds == LEAST_ROUNDS
