"""Fills the database of a server under test through the store: `python -m tests.bench.fill WHAT …` in its environment.

`people N`: so many users, each logged in and with a conversation. `turns CONVERSATION N`: so many turns of it.
`replies CONVERSATION N`: the same with answers of a paragraph. Prints JSON.
"""

from __future__ import annotations

import json
import os
import sys
import uuid

ANSWER = (
    "A **short** answer of a few words, as people get them, with a list:\n\n- one\n- two\n\nAnd `code` at its end. "
)
TURN_TEXT = "What about this, then? " * 4


def people(count: int) -> list[dict[str, str]]:
    """Cookie and conversation of each."""
    from django.conf import settings
    from django.contrib.auth import get_user_model
    from django.db import transaction
    from django.test import Client

    from chat.clock import now_ms
    from chat.store import commits

    made = []
    with transaction.atomic():
        for _ in range(count):
            user = get_user_model().objects.create(username=f"reader-{uuid.uuid4()}")
            client = Client()
            client.force_login(user)
            session = client.cookies[settings.SESSION_COOKIE_NAME].value
            announcement = commits.start_conversation(user_id=user.pk, at_ms=now_ms())
            made.append(
                {
                    "cookie": f"{settings.SESSION_COOKIE_NAME}={session}",
                    "conversation": str(announcement.state.conversation_id),
                }
            )
    return made


def turns(conversation: str, count: int, text: str) -> int:
    """The newest event."""
    from django.db import transaction

    from chat.clock import now_ms
    from chat.core.effects import StartGeneration
    from chat.core.events import Event, GenerationCompleted, GenerationStarted, MessageSubmitted
    from chat.core.ids import ConversationId, MessageId
    from chat.core.messages import Delivery, Telemetry
    from chat.store import commits

    conversation_id, process_id = ConversationId(uuid.UUID(conversation)), uuid.uuid4()

    def take(event: Event) -> commits.Committed:
        result = commits.commit(conversation_id, event, actor_id=None, process_id=process_id)
        assert isinstance(result, commits.Committed)
        return result

    seq = 0
    with transaction.atomic():
        for _ in range(count):
            asked = take(
                MessageSubmitted(
                    message_id=MessageId(uuid.uuid4()),
                    content=TURN_TEXT,
                    delivery=Delivery.QUEUE,
                    queue_limit=1,
                    at_ms=now_ms(),
                )
            )
            order = next(effect for effect in asked.effects if isinstance(effect, StartGeneration))
            run_id, number = order.run_id, order.generation_no
            take(GenerationStarted(run_id=run_id, generation_no=number, attempt=1, at_ms=now_ms()))
            ended = GenerationCompleted(
                run_id=run_id, generation_no=number, text=text, reasoning="", telemetry=Telemetry(), at_ms=now_ms()
            )
            seq = take(ended).announcement.seq
    return seq


def main(words: list[str]) -> object:
    """Do it."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "agentsite.settings")
    import django

    django.setup()
    from django.conf import settings

    settings.ALLOWED_HOSTS = ["testserver"]
    match words:
        case ["people", count]:
            return people(int(count))
        case ["turns", conversation, count]:
            return turns(conversation, int(count), ANSWER * 2)
        case ["replies", conversation, count]:
            return turns(conversation, int(count), (ANSWER * 4 + "\n\n") * 2)
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:])))  # noqa: T201 - the result
