"""The pause of streams follows what the process has to do."""

from __future__ import annotations

from itertools import pairwise

import pytest

from chat.tempo import FIRST_PAUSE_S, GRID, LONG_PAUSE_S, LONGEST_PAUSE_S, LOOK_S, Tempo


class Machine:
    """A clock, and a process that keeps a core busy for a share of the time."""

    def __init__(self) -> None:
        self.now_s = self.spent_s = 0.0
        self.tempo = Tempo(clock=lambda: self.now_s, spent=lambda: self.spent_s)

    def pauses(self, share: float, *, seconds: float) -> list[float]:
        """What a stream that has text all the time is told meanwhile."""
        found = []
        for _ in range(round(seconds / LOOK_S)):
            # A little more, so that each is a look in spite of rounding.
            self.now_s += LOOK_S * 1.01
            self.spent_s += LOOK_S * 1.01 * share
            found.append(self.tempo.pause_s())
        return found


def about(pause_s: float) -> object:
    """A pause of that length, up to the next point of the grid."""
    return pytest.approx(pause_s * (1 + GRID / 2), rel=GRID / 2)


def test_an_idle_process_lets_text_through_as_it_comes() -> None:
    assert set(Machine().pauses(0.15, seconds=5)) == {0.0}


@pytest.mark.parametrize(
    ("share", "first_s", "last_s"), [(0.7, FIRST_PAUSE_S, LONG_PAUSE_S), (1.0, LONG_PAUSE_S, LONGEST_PAUSE_S)]
)
def test_a_busy_one_takes_more_and_more_at_a_time_up_to_a_limit(share: float, first_s: float, last_s: float) -> None:
    pauses = Machine().pauses(share, seconds=5)
    assert pauses[0] == about(first_s)
    assert all(later > before or before == about(last_s) for before, later in pairwise(pauses))
    assert pauses[-1] == about(last_s)


def test_one_that_has_some_time_left_keeps_text_flowing() -> None:
    machine = Machine()
    assert machine.pauses(0.7, seconds=10)[-1] == about(LONG_PAUSE_S)
    machine.pauses(1.0, seconds=5)
    assert machine.pauses(0.7, seconds=10)[-1] == about(LONG_PAUSE_S)


def test_it_comes_back_when_the_load_is_gone() -> None:
    machine = Machine()
    machine.pauses(1.0, seconds=5)
    assert machine.pauses(0.1, seconds=10)[-1] == 0.0


def test_after_a_quiet_while_nothing_waits_for_what_was_before_it() -> None:
    machine = Machine()
    machine.pauses(1.0, seconds=5)
    machine.now_s += 10
    assert machine.tempo.pause_s() == 0.0


def test_it_is_looked_at_ten_times_a_second_and_not_with_each_frame() -> None:
    machine = Machine()
    machine.pauses(0.7, seconds=LOOK_S)
    machine.now_s += LOOK_S / 2
    machine.spent_s += 10
    assert machine.tempo.pause_s() == about(FIRST_PAUSE_S)


def test_pauses_that_begin_one_after_the_other_end_together() -> None:
    machine = Machine()
    machine.pauses(0.7, seconds=10)
    ends = set()
    for _ in range(80):
        machine.now_s += LOOK_S / 1000
        ends.add(round(machine.now_s + machine.tempo.pause_s(), 6))
    assert len(ends) <= 2


def test_text_that_was_not_read_for_a_pause_is_written_at_once() -> None:
    machine = Machine()
    machine.pauses(1.0, seconds=5)
    assert 0 < machine.tempo.frame_pause_s() < machine.tempo.pause_s()
    machine.now_s += 10
    assert machine.tempo.frame_pause_s() == 0.0
