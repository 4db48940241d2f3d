"""Lets anything happen in the simulated outside, chosen by chance."""

from __future__ import annotations

from random import Random

from chat.core.messages import Delivery
from tests.core.world import World

DELIVERIES = tuple(Delivery)


def wander(world: World, random: Random, *, steps: int) -> None:
    """Let so many things happen, chosen by chance."""
    for _ in range(steps):
        a, b, c = (random.randrange(10) for _ in range(3))
        match random.randrange(18):
            case 0 | 1 | 2:
                world.submit(max(0, a - 6), DELIVERIES[b % 3])
            case 3:
                world.press(a)
            case 4:
                world.change_queue(a, b, c)
            case 5 | 6 | 7:
                world.perform(a, b)
            case 8 | 9:
                world.deliver(a, stays=b == 0)
            case 10:
                world.take_over(a, can_ask_again=b != 0)
            case 11 | 12:
                world.call_tools(a)
            case 13:
                world.decide(a, b)
            case 14 | 15:
                world.decide_next(a)
            case 16:
                world.duplicate(a)
            case _:
                world.forge(a, b, c % 4)
