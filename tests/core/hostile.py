"""The state machine in which hypothesis drives the world, as badly as it can.

Knows only which choices there are; what they do stands in `tests.core.world`.
"""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from chat.core import prompt, reducer
from chat.core.messages import Delivery
from tests.core.calm import calm_down
from tests.core.folding import StepFunction
from tests.core.performing import ANSWERS, GUARDED
from tests.core.talk import ANALYST
from tests.core.turns import BuildFunction
from tests.core.world import World

STEPS_MAX = 50
SMALL = st.integers(0, 9)
FLAG = st.booleans()
# Choices of the world that have a rule of their own, so that they are not rare.
STOP, RETRY, RESUME, DELETE, RESTORE = 0, 1, 2, 6, 7
HOLD = 0
COMPLETE, FAIL = 0, 2


def hostile_settings(*, runs: int, shrinks: bool) -> settings:
    """Deterministic, without a database of examples: what fails for one fails for all.

    shrinks: whether a failure is made small for a person to read, which takes a while.
    """
    phases = (Phase.generate, Phase.shrink) if shrinks else (Phase.generate,)
    return settings(
        max_examples=runs,
        stateful_step_count=STEPS_MAX,
        derandomize=True,
        database=None,
        deadline=None,
        phases=phases,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )


class HostileWorld(RuleBasedStateMachine):
    """A conversation in a world that answers late, twice, in any order, about what never was, or not at all."""

    step: StepFunction = staticmethod(reducer.step)
    build: BuildFunction = staticmethod(prompt.build)

    def __init__(self) -> None:
        super().__init__()
        self.world = World(step=type(self).step, build=type(self).build)
        self.world.start(ANALYST)

    @rule(which=SMALL)
    def a_person_sends_for_later(self, which: int) -> None:
        self.world.submit(which // 8, Delivery.QUEUE)

    @rule()
    def a_person_steers(self) -> None:
        self.world.submit(0, Delivery.STEER)

    @rule()
    def a_person_interrupts(self) -> None:
        self.world.submit(0, Delivery.INTERRUPT)

    @rule()
    def a_person_stops(self) -> None:
        self.world.press(STOP)

    @rule()
    def a_person_tries_again(self) -> None:
        self.world.press(RETRY)

    @rule()
    def a_person_lets_the_queue_go_on(self) -> None:
        self.world.press(RESUME)

    @rule(which=SMALL)
    def a_person_takes_the_conversation_back_or_sometimes_puts_it_away(self, which: int) -> None:
        if self.world.conversation.is_deleted:
            self.world.press(RESTORE)
        elif which < 2:
            self.world.press(DELETE)

    @rule(which=SMALL)
    def a_person_presses_a_button(self, which: int) -> None:
        self.world.press(which)

    @rule(how=SMALL, which=SMALL, position=SMALL)
    def a_person_changes_the_queue(self, how: int, which: int, position: int) -> None:
        self.world.change_queue(how, which, position)

    @rule(which=SMALL)
    def a_person_opens_a_waiting_message(self, which: int) -> None:
        self.world.change_queue(HOLD, which, 0)

    @rule(how=SMALL)
    def the_newest_performer_goes_on_and_is_heard(self, how: int) -> None:
        self._perform_newest(how)

    @rule()
    def the_newest_performer_completes_and_is_heard(self) -> None:
        self._perform_newest(COMPLETE)

    @rule()
    def the_newest_performer_fails_and_is_heard(self) -> None:
        self._perform_newest(FAIL)

    def _perform_newest(self, how: int) -> None:
        """What happens most: else few conversations would come far. With nothing to perform, a person sends."""
        if self.world.is_waited_for:
            self.world.perform(how, 0)
            self.world.deliver(-1, stays=False)
        else:
            self.world.submit(0, Delivery.QUEUE)

    @rule(which=SMALL)
    def the_model_calls_tools(self, which: int) -> None:
        self._call_tools(which)

    @initialize(opening=SMALL)
    def the_conversation_may_have_begun_with_calls(self, opening: int) -> None:
        if opening > 2:
            self._call_tools(opening)
            self._call_tools(opening)
        elif opening == 2:
            self._call_tools(ANSWERS.index((GUARDED,)))
            self.world.lose_guarded()

    def _call_tools(self, which: int) -> None:
        """With no model to answer, a person sends."""
        if self.world.conversation.run is None:
            self.world.submit(0, Delivery.QUEUE)
        self.world.call_tools(which)

    @rule(how=SMALL)
    def a_person_decides_rightly(self, how: int) -> None:
        """With nothing to decide, the model calls tools."""
        if any(call.waits_for_person for call in self.world.conversation.calls):
            self.world.decide_next(how)
        else:
            self._call_tools(how)

    @rule(how=SMALL, which=SMALL)
    def a_tool_claims_its_order_and_goes_on(self, how: int, which: int) -> None:
        self.world.run_tool(how, which)

    @rule(how=SMALL, which=SMALL)
    def a_person_decides_what_was_decided(self, how: int, which: int) -> None:
        self.world.decide_again(how, which)

    @rule()
    def a_person_allows_a_tool_or_takes_that_back(self) -> None:
        self.world.allow()

    @rule(how=SMALL, which=SMALL)
    def a_person_decides_anything(self, how: int, which: int) -> None:
        self.world.decide(how, which)

    @rule(which=SMALL)
    def an_order_to_a_tool_is_given_to_somebody_else_as_well(self, which: int) -> None:
        self.world.duplicate(which)

    @rule(how=SMALL, which=SMALL)
    def a_performer_goes_on(self, how: int, which: int) -> None:
        self.world.perform(how, which)

    @rule(which=SMALL, stays=FLAG)
    def an_event_arrives(self, which: int, stays: bool) -> None:
        self.world.deliver(which, stays=stays)

    @rule(which=SMALL)
    def an_event_arrives_again(self, which: int) -> None:
        self.world.repeat(which)

    @rule(which=SMALL, can_ask_again=FLAG)
    def a_performer_is_held_to_be_dead(self, which: int, can_ask_again: bool) -> None:
        self.world.take_over(which, can_ask_again=can_ask_again)

    @rule(how=SMALL, which=SMALL, generation_no=st.integers(0, 3))
    def an_event_of_no_order_arrives(self, how: int, which: int, generation_no: int) -> None:
        self.world.forge(how, which, generation_no)

    def teardown(self) -> None:
        if not self.world.is_broken:
            calm_down(self.world)
            self.world.check_log()
