"""A conversation in which one word is in everything that can hold a word, so that any that is left is found."""

from __future__ import annotations

import json
from dataclasses import replace
from uuid import uuid4

from django.core.files.base import ContentFile

from chat import models
from chat.core.calls import Policy, Proposal
from chat.core.events import ConversationRenamed, GenerationFailed, QueueItemEdited, QueueItemRemoved, ToolLost
from chat.core.messages import Failure
from chat.store import files
from tests.core import talk
from tests.core.talk import NOW_MS
from tests.store.kept import Kept, make_user, message_id, sent

WORD = "chrysanthemum"


def proposal(number: int, *, policy: Policy = Policy.ASK, tool: str = "act", problem: str = "") -> Proposal:
    arguments = json.dumps({"what": f"{WORD} {number}"})
    return Proposal(provider_id=f"call_{number}", tool=tool, arguments=arguments, policy=policy, problem=problem)


def spoken() -> Kept:
    """The conversation, of a new user; nothing runs in it, and one message waits, one was withdrawn."""
    kept = Kept(make_user())
    kept.take(sent("a", content=f"{WORD} a"))
    owner = kept.user_id
    made = files.keep(kept.conversation_id, name=f"{WORD}.png", mime="image/png", content=ContentFile(b"x"))
    proposals = (*(proposal(number) for number in range(1, 5)), proposal(5, tool=WORD, problem=f"No {WORD} here."))
    told = talk.completed(kept.run, f"{WORD} answer", calls=proposals)
    kept.take(replace(told, reasoning=f"{WORD} thought", telemetry=replace(talk.TOOK, notice=f"{WORD}, cut off")))
    edited = json.dumps({"what": f"{WORD} edited"})
    kept.take(replace(talk.approved(kept.call(1)), arguments=edited, user_id=owner))
    kept.take(replace(talk.approved(kept.call(2)), user_id=owner))
    kept.take(replace(talk.rejected(kept.call(3), f"No {WORD}."), user_id=owner))
    kept.take(replace(talk.rejected(kept.call(4), ""), user_id=owner))
    for number in (1, 2):
        kept.take(talk.claimed(kept.call(number)))
    ended = talk.ended(kept.call(1), "succeeded", f"{WORD} result", artifacts=(made,))
    kept.take(replace(ended, output=f"{WORD} output"))
    call = kept.call(2)
    kept.take(
        ToolLost(
            run_id=call.run_id,
            call_id=call.call_id,
            execution_no=1,
            can_run_again=True,
            output=f"{WORD} lost",
            at_ms=NOW_MS,
        )
    )
    kept.take(talk.claimed(kept.call(2)))
    kept.take(talk.ended(kept.call(2), "failed", f"{WORD} again"))
    for name in "bcd":
        kept.take(sent(name, content=f"{WORD} {name}"))
    kept.take(QueueItemEdited(message_id=message_id("b"), content=f"{WORD} edited", at_ms=NOW_MS))
    kept.take(QueueItemRemoved(message_id=message_id("c"), at_ms=NOW_MS))
    kept.take(
        GenerationFailed(
            run_id=kept.run.run_id,
            generation_no=kept.run.generation_no,
            text=f"{WORD} half",
            reasoning=WORD,
            failure=Failure(fault="quota", words=f"{WORD} has no credit."),
            telemetry=talk.TOOK,
            at_ms=NOW_MS,
        )
    )
    kept.take(ConversationRenamed(title=f"{WORD} title", at_ms=NOW_MS))
    models.QueuedMessage.objects.filter(place=None).update(
        attachments=[{"artifact_id": str(uuid4()), "name": f"{WORD}.txt", "mime": "text/plain", "size": 1}]
    )
    return kept
