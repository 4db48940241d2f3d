"""How fast frames may come, by a clock of our own."""

from __future__ import annotations

from dataclasses import dataclass

from chat.web import pace
from chat.web.pace import BURST_S, Pace, Paces


@dataclass
class Clock:
    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s


def taken(from_pace: Pace) -> int:
    count = 0
    while from_pace.take():
        count += 1
    return count


def test_a_burst_gets_by_and_then_no_more_than_the_rate() -> None:
    clock = Clock()
    one = Pace(10, clock)
    assert taken(one) == 10 * BURST_S
    clock.now_s += 1
    assert taken(one) == 10
    clock.now_s += 1_000
    assert taken(one) == 10 * BURST_S


def test_a_rate_of_less_than_one_in_a_burst_still_lets_frames_by() -> None:
    clock = Clock()
    one = Pace(0.01, clock)
    assert taken(one) == 1
    clock.now_s += 99
    assert taken(one) == 0
    clock.now_s += 1.1
    assert taken(one) == 1


def test_all_sockets_of_a_user_share_one_pace_and_a_new_socket_brings_no_more() -> None:
    paces = Paces(Clock())
    taken(paces.of_user(1, 10))
    assert not paces.of_user(1, 10).take()
    assert paces.of_user(2, 10).take()


def test_a_share_is_spent_once_and_within_its_time() -> None:
    clock = Clock()
    one = Pace(10, clock)
    assert not one.spend()
    one.grant(5)
    one.grant(5)
    assert [one.spend() for _ in range(2 * one.share + 1)] == [True] * (2 * one.share) + [False]
    one.grant(5)
    clock.now_s += 5
    assert not one.spend()
    one.grant(5)
    assert [one.spend() for _ in range(one.share + 1)][-1] is False


def test_users_that_have_been_quiet_are_forgotten_and_others_are_not() -> None:
    clock = Clock()
    paces = Paces(clock)
    taken(paces.of_user(0, 10))
    for user_id in range(1, pace.USERS_MIN):
        paces.of_user(user_id, 10).take()
    clock.now_s += 1
    assert len(paces) == pace.USERS_MIN
    paces.of_user(pace.USERS_MIN, 10)
    assert len(paces) == 2
    assert taken(paces.of_user(0, 10)) == 10
