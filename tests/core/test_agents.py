"""What an agent is made of, as a value: its digest stands in logs for ever."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from chat.core.agents import Profile, policy_for
from chat.core.calls import Policy

WHOLE = Profile(
    model="big-model",
    instructions="Be brief. Naïve 🙂",
    policies={"execute_python": Policy.STAFF, "current_time": Policy.NEVER},
    tool_rounds_max=3,
    answer_timeout_s=60,
    tokens_max_per_day=1_000,
)
OTHER = Profile(
    model="small-model",
    instructions="Be long.",
    policies={"execute_python": Policy.NEVER, "current_time": Policy.NEVER},
    tool_rounds_max=4,
    answer_timeout_s=61,
    tokens_max_per_day=1_001,
)
# Written down when there were no others: logs hold them.
DIGEST_OF_WHOLE = "ce96d2d0e1fdf5ff656d263e0dcb934501dec067db14a82c325d13c7612f595d"
DIGEST_OF_NOTHING = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@pytest.mark.parametrize(
    ("own", "of_site", "of_agent", "holds"),
    [
        ("ask", None, None, "ask"),
        # Whoever runs the site answers for what it lets happen, also against a tool's own word.
        ("ask", "auto", None, "auto"),
        ("staff", "auto", None, "auto"),
        ("auto", "never", None, "never"),
        # An agent can only let less happen, than the site and than the tool.
        ("ask", None, "auto", "ask"),
        ("ask", None, "staff", "staff"),
        ("staff", None, "ask", "staff"),
        ("ask", "auto", "ask", "ask"),
        ("auto", "never", "auto", "never"),
    ],
)
def test_the_site_has_the_word_over_a_tool_and_an_agent_lets_only_less_happen(
    own: str, of_site: str | None, of_agent: str | None, holds: str
) -> None:
    found = policy_for(
        Policy(own), of_site=Policy(of_site) if of_site else None, of_agent=Policy(of_agent) if of_agent else None
    )
    assert found is Policy(holds)


def test_a_digest_is_what_it_was_when_logs_were_written() -> None:
    assert WHOLE.digest == DIGEST_OF_WHOLE
    assert Profile(policies={}).digest == DIGEST_OF_NOTHING


def test_the_order_in_which_tools_are_named_does_not_count() -> None:
    assert replace(WHOLE, policies=dict(sorted(WHOLE.policies.items()))).digest == DIGEST_OF_WHOLE


@pytest.mark.parametrize("name", [field.name for field in fields(Profile)])
def test_each_part_of_what_an_agent_is_made_of_counts(name: str) -> None:
    assert replace(WHOLE, **{name: getattr(OTHER, name)}).digest != DIGEST_OF_WHOLE
