"""The journey of somebody who sends while the agent is busy. Each way to serve the site runs it."""

from __future__ import annotations

import time

from chat.llm.scripted_steps import Say
from tests.journeys import figures
from tests.journeys.place import FAR_S, Place, contents

LONG_ANSWER = "word " * 150
TOKEN_DELAY_S = 0.02
# Far below the three seconds that the answer takes, so that "at once" is not "after it".


class SendingJourney:
    """Subclassed by each way to serve."""

    async def test_messages_sent_during_an_answer_are_accepted_at_once_and_answered_in_order(
        self, place: Place
    ) -> None:
        questions = ["question 0", "question 1", "question 2", "question 3"]
        place.answers(
            {
                "question 0": (Say(text=LONG_ANSWER, delay_s=TOKEN_DELAY_S),),
                **{question: (Say(text=f"Answer to {question}."),) for question in questions[1:]},
            }
        )
        took_s: list[float] = []
        async with place.socket() as wire:
            await wire.say("question 0")
            await wire.until_text()
            run_id = wire.state["run_id"]
            for count, question in enumerate(questions[1:], start=1):
                sent_at_s = time.monotonic()
                message_id = await wire.say(question)
                frame = await wire.until_known(message_id)
                took_s.append(time.monotonic() - sent_at_s)
                assert contents(frame) == questions[1 : count + 1]
                assert (frame["phase"], frame["run_id"], frame["is_streaming"]) == (
                    "generating",
                    run_id,
                    True,
                )
            long_one = await place.exchange(0)
            assert long_one.ended_at_s is None, "the answer was over before the last message was accepted"
            await wire.until_idle(within_s=FAR_S)
            assert wire.wrong_offsets == []
            answers = [row for row in wire.messages.values() if row["role"] == "assistant"]
            assert all(wire.texts[answer["id"]] == answer["content"] for answer in answers)
        figures.show_times(f"{type(self).__name__}: accepted while busy", took_s)

        assert place.questions == questions
        for number, question in enumerate(questions):
            asked = [text for role, text in place.prompt(number).messages if role == "user"]
            assert asked == [*questions[:number], question]
        replies = [LONG_ANSWER, *(f"Answer to {question}." for question in questions[1:])]
        assert place.transcript() == [
            row
            for question, reply in zip(questions, replies, strict=True)
            for row in (("user", "complete", question), ("assistant", "complete", reply))
        ]

    async def test_readers_that_go_in_mid_sentence_are_no_fault(self, place: Place) -> None:
        place.answers((Say(text="word " * 2000, delay_s=0.0005),))
        async with place.socket() as stays:
            await stays.say("Hello?")
            await stays.until_text()
            for _ in range(40):
                async with place.socket() as goes:
                    # Without a goodbye, as when a phone loses its network.
                    goes.connection.transport.abort()
            await stays.until_event("llm_response_completed", within_s=FAR_S)
        assert "Traceback" not in place.server.log_text
