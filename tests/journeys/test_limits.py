"""Every limit, hit on purpose, on two servers that share one database: no more get by than the setting says, also of
many that come at once, and whoever is refused is told which limit it was.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress

import pytest
from websockets.exceptions import ConnectionClosed

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import CountTokens, Gate, Say, Wait
from chat.web.consumers import TOO_MANY
from chat.web.pace import BURST_S
from tests.fleet.postgres import postgres
from tests.journeys.serving import serving
from tests.server import PASSWORD, Frame, Person, ServerProcess, Wire

FAILURES, SIGNUPS, SOCKETS, MESSAGES, QUEUE, RUNS, TOKENS, FRAMES = 3, 4, 3, 6, 2, 2, 10_000, 3
NAMES = ("guessed", "crowd", "writer", "queuer", "runner", "reader", "keeper", "hasty")
MAKE_USERS = f"""
from django.contrib.auth.models import User
for name in {NAMES!r}:
    User.objects.create_user(name, password={PASSWORD!r})
"""
Two = tuple[ServerProcess, ServerProcess]


@pytest.fixture(scope="module")
def two(upstream: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    """Two servers on one PostgreSQL, with small limits."""

    def server(name: str, database: str) -> ServerProcess:
        return ServerProcess(
            tmp_path_factory.mktemp(name),
            upstream=upstream.base_url,
            DATABASE_URL=database,
            AGENT_LOGIN_FAILURES_MAX_PER_NAME=str(FAILURES),
            AGENT_SIGNUPS_MAX_PER_HOUR_AND_ADDRESS=str(SIGNUPS),
            AGENT_SOCKETS_MAX_PER_USER=str(SOCKETS),
            AGENT_MESSAGES_MAX_PER_HOUR=str(MESSAGES),
            AGENT_QUEUE_MAX_MESSAGES=str(QUEUE),
            AGENT_RUNS_MAX_PER_USER=str(RUNS),
            AGENT_TOKENS_MAX_PER_DAY=str(TOKENS),
            AGENT_FRAMES_MAX_PER_SECOND=str(FRAMES),
            AGENT_STORAGE_MAX_MIB_PER_USER="1",
        )

    with postgres() as database, serving(server("one", database.url())) as one:
        made = one.manage("shell", "-v", "0", "-c", MAKE_USERS)
        assert made.returncode == 0, made.stderr
        with serving(server("other", database.url())) as other:
            yield one, other


def people(two: Two, name: str) -> list[Person]:
    """The same person on each of the servers."""
    return [Person(server.base).log_in(name) for server in two]


async def said(wire: Wire, message_id: str) -> Frame:
    """What becomes of a message: a refusal, or the update that has it."""

    def is_about(frame: Frame) -> bool:
        rows = [*frame.get("queue", ()), *frame.get("messages", ())]
        return frame.get("ref") == message_id or any(row["id"] == message_id for row in rows)

    # A refusal is said at once and an update in its turn, so either may have come first.
    known = next((frame for frame in wire.frames if is_about(frame)), None)
    return known or await wire.until(is_about)


async def test_attempts_at_one_password(two: Two) -> None:
    doors = [Person(two[number % 2].base) for number in range(12)]
    fields = {"username": "guessed", "password": "wrong"}
    answers = await asyncio.gather(*(asyncio.to_thread(door.post, "/accounts/login/", **fields) for door in doors))
    assert Counter(status for status, _ in answers) == {200: FAILURES, 429: len(doors) - FAILURES}
    for server in two:
        status, page = Person(server.base).post("/accounts/login/", username="guessed", password=PASSWORD)
        assert status == 429
        assert "Too many log-ins have failed. Try again in" in page


async def test_accounts_from_one_address(two: Two) -> None:
    doors = [Person(two[number % 2].base) for number in range(2 * SIGNUPS)]

    def sign_up(number: int, door: Person) -> tuple[int, str]:
        return door.post("/accounts/signup/", username=f"new-{number}", password1=PASSWORD, password2=PASSWORD)

    answers = await asyncio.gather(*(asyncio.to_thread(sign_up, *one) for one in enumerate(doors)))
    assert Counter(status for status, _ in answers) == {200: SIGNUPS, 429: SIGNUPS}
    assert all("Too many accounts were made from your address" in page for status, page in answers if status == 429)


async def test_sockets_of_one_user(two: Two) -> None:
    crowd = people(two, "crowd")
    path = f"/ws/c/{crowd[0].new_conversation()}/?format=json"
    async with AsyncExitStack() as open_ones:
        wires = [await open_ones.enter_async_context(crowd[number % 2].socket(path)) for number in range(SOCKETS)]
        for wire in wires:
            assert (await wire.receive())["full"] is True
        for person in crowd:
            async with person.socket(path) as one_too_many:
                assert await one_too_many.closed() == TOO_MANY
        for wire in wires:
            await wire.send(type="sync", after=0)
            assert (await wire.receive())["full"] is True
    async with crowd[1].socket(path) as again:
        assert (await again.receive())["full"] is True


async def test_sockets_of_a_server_that_died_are_not_counted_for_ever(
    two: Two, upstream: ScriptedServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    third = ServerProcess(tmp_path_factory.mktemp("third"))
    third.environ |= {**two[0].environ, "AGENT_HEARTBEAT_TIMEOUT_S": "2"}
    third.start()
    try:
        person, elsewhere = Person(third.base).log_in("reader"), Person(two[0].base).log_in("reader")
        path = f"/ws/c/{person.new_conversation()}/?format=json"
        async with AsyncExitStack() as open_ones:
            for _ in range(SOCKETS):
                wire = await open_ones.enter_async_context(person.socket(path))
                await wire.receive()
            async with elsewhere.socket(path) as one_too_many:
                assert await one_too_many.closed() == TOO_MANY
            third.kill()
        async with asyncio.timeout(20):
            while True:
                async with elsewhere.socket(path) as wire:
                    if await wire.closed(within_s=1) is None:
                        break
    except TimeoutError:
        # Nobody closes it any more.
        pass
    finally:
        third.close()


async def test_frames_of_one_user(two: Two) -> None:
    at_once = int(FRAMES * BURST_S)
    hasty = people(two, "hasty")
    path = f"/ws/c/{hasty[0].new_conversation()}/?format=json"
    # They are counted by times that begin anew; none of them may end while they are sent.
    await asyncio.sleep(BURST_S - time.time() % BURST_S if time.time() % BURST_S > BURST_S / 2 else 0)
    async with AsyncExitStack() as open_ones:
        wires = [await open_ones.enter_async_context(person.socket(path)) for person in hasty]
        # Each server alone would take them, and both together take no more than one alone.
        assert TOO_MANY in await asyncio.gather(*(hurry(wire, at_once * 3 // 4) for wire in wires))


async def hurry(wire: Wire, count: int) -> int | None:
    """Send so many frames, or as many as are taken; the code with which the server closed, if it did."""
    with suppress(ConnectionClosed):
        for _ in range(count):
            await wire.send(type="sync", after=0)
    with suppress(TimeoutError):
        return await wire.closed(within_s=3)
    return None


async def test_messages_of_one_user_within_an_hour(two: Two, upstream: ScriptedServer) -> None:
    upstream.script = lambda request: (Say(text="ok"),)
    writers = people(two, "writer")
    conversations = [person.new_conversation() for person in writers]
    told: list[Frame] = []
    async with AsyncExitStack() as open_ones:
        wires = [
            await open_ones.enter_async_context(person.socket(f"/ws/c/{conversation}/?format=json"))
            for person, conversation in zip(writers, conversations, strict=True)
        ]
        for _ in range(MESSAGES):
            # At once, in two conversations on two servers.
            ids = [await wire.say("Hello?") for wire in wires]
            told += [await said(wire, message_id) for wire, message_id in zip(wires, ids, strict=True)]
    assert Counter(frame.get("code") for frame in told) == {None: MESSAGES, "too_many_messages": MESSAGES}
    words = f"You sent {MESSAGES} messages within an hour, as many as this site takes. Go on in"
    assert all(words in frame["message"] for frame in told if frame.get("code"))


async def test_messages_that_wait_in_one_conversation(two: Two, upstream: ScriptedServer) -> None:
    gate = Gate()
    upstream.script = lambda request: (Say(text="I "), Wait(gate=gate))
    one, other = people(two, "queuer")
    path = f"/ws/c/{one.new_conversation()}/?format=json"
    async with one.socket(path) as here, other.socket(path) as there:
        await here.say("first")
        await here.until_event("llm_response_started")
        ids = [(wire, await wire.say(f"waits {number}")) for number in range(2) for wire in (here, there)]
        told = [await said(wire, message_id) for wire, message_id in ids]
        assert Counter(frame.get("code") for frame in told) == {None: QUEUE, "queue_full": 2 * 2 - QUEUE}
        assert all(str(QUEUE) in frame["message"] for frame in told if frame.get("code"))
        await here.send(type="stop")
        await here.until_idle()
    gate.open()


async def test_answers_of_one_user_at_the_same_time(two: Two, upstream: ScriptedServer) -> None:
    gate = Gate()
    upstream.script = lambda request: (Say(text="I "), Wait(gate=gate))
    one, other = people(two, "runner")
    paths = [f"/ws/c/{one.new_conversation()}/?format=json" for _ in range(RUNS + 1)]
    async with one.socket(paths[0]) as first, other.socket(paths[1]) as second, other.socket(paths[2]) as third:
        ids = [(wire, await wire.say("Hello?")) for wire in (first, second, third)]
        told = [await said(wire, message_id) for wire, message_id in ids]
        assert Counter(frame.get("code") for frame in told) == {None: RUNS, "too_many_runs": 1}
        assert f"{RUNS} of your conversations are being answered, as many as may be at once" in str(told)
        for wire in (first, second, third):
            await wire.send(type="stop")
    gate.open()


async def test_tokens_of_one_user_in_a_day(two: Two, upstream: ScriptedServer) -> None:
    upstream.script = lambda request: (Say(text="ok"), CountTokens(prompt_tokens=TOKENS - 1, completion_tokens=1))
    one, other = people(two, "keeper")
    async with one.socket(f"/ws/c/{one.new_conversation()}/?format=json") as here:
        await here.say("Hello?")
        await here.until_event("llm_response_completed")
    async with other.socket(f"/ws/c/{other.new_conversation()}/?format=json") as there:
        refused = await said(there, await there.say("And now?"))
    assert refused["code"] == "no_tokens_left"
    assert f"Your {TOKENS:,} tokens of today are used up. There are new ones in" in refused["message"]


async def test_files_of_one_user(two: Two) -> None:
    keepers = people(two, "keeper")
    conversations = [person.new_conversation() for person in keepers]
    content = b"x" * (600 << 10)

    def send(person: Person, conversation: str) -> tuple[int, str]:
        return person.upload(conversation, "large.csv", content)

    answers = await asyncio.gather(
        *(asyncio.to_thread(send, *each) for each in zip(keepers, conversations, strict=True))
    )
    assert sorted(status for status, _ in answers) == [201, 413]
    assert "of 1 MB. Delete conversations that you don't need" in str(answers)
