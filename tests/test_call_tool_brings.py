"""What a tool brings: files, tables that are made harmless first, a result that is cut to size, and how far it is."""

from __future__ import annotations

import pytest

from chat.errors import StorageFullError
from chat.performers.call_tool import HTML_MAX_CHARACTERS, cut, storable
from chat.tools import registry
from chat.tools.registry import ToolContext, ToolFile, ToolResult
from tests.test_call_tool import Outside, double, ended, execution


@pytest.fixture
def outside() -> Outside:
    return Outside()


@pytest.fixture(autouse=True)
def _own_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tools of a test are gone with it."""
    monkeypatch.setattr(registry, "_tools", {})


async def test_files_are_kept_in_their_order(outside: Outside) -> None:
    async def work(context: ToolContext, n: int) -> ToolResult:
        files = tuple(ToolFile(name=f"{name}.png", mime="image/png", data=b"12") for name in "ab")
        return ToolResult(text="two charts", files=files)

    event = await ended(outside, work)
    assert [(file.name, file.mime, file.size) for file in event.artifacts] == [
        ("a.png", "image/png", 2),
        ("b.png", "image/png", 2),
    ]


async def test_a_file_that_can_not_be_kept_is_a_failure(outside: Outside, caplog: pytest.LogCaptureFixture) -> None:
    outside.keeping_fault = OSError("the disk is full")

    async def work(context: ToolContext, n: int) -> ToolResult:
        return ToolResult(text="a chart", files=(ToolFile(name="a", mime="image/png", data=b""),))

    event = await ended(outside, work)
    assert (event.outcome, event.artifacts) == ("failed", ())
    assert "the disk is full" in caplog.text


async def test_a_file_that_has_no_room_is_named_to_the_model_and_the_rest_counts(outside: Outside) -> None:
    outside.keeping_fault = StorageFullError("your files take 5 of 5 MB")

    async def work(context: ToolContext, n: int) -> ToolResult:
        return ToolResult(text="a chart", files=(ToolFile(name="a.png", mime="image/png", data=b""),))

    event = await ended(outside, work)
    assert (event.outcome, event.artifacts) == ("succeeded", ())
    assert event.result == "a chart\nThe file a.png was not kept for the user: your files take 5 of 5 MB."


UNSTORABLE = "a\0b\ud83dc"
STORABLE = "a\ufffdb?c"


async def test_what_can_be_neither_stored_nor_sent_is_replaced_everywhere(outside: Outside) -> None:
    async def work(context: ToolContext, n: int) -> ToolResult:
        context.output(UNSTORABLE)
        return ToolResult(text=UNSTORABLE, files=(ToolFile(name=UNSTORABLE, mime=UNSTORABLE, data=b""),))

    event = await ended(outside, work)
    assert (event.output, event.result) == (STORABLE, STORABLE)
    assert outside.sink.parts == [("stdout", STORABLE)]
    assert (outside.files[0].name, outside.files[0].mime) == (STORABLE, STORABLE)


async def test_a_long_result_is_cut_with_a_note_of_how_much(outside: Outside) -> None:
    async def work(context: ToolContext, n: int) -> str:
        return "a" * 60 + "m" * 2_000 + "z" * 60

    event = await ended(outside, work)
    assert event.result == "a" * 50 + "\n[… 2,020 of 2,120 characters left out …]\n" + "z" * 50


@pytest.mark.parametrize("length", [0, 1, 99, 100])
def test_a_result_within_its_limit_is_not_cut(length: int) -> None:
    assert cut("é" * length, 100) == "é" * length


@pytest.mark.parametrize("limit", [1, 2, 3, 100, 101])
def test_a_cut_never_loses_more_than_it_says(limit: int) -> None:
    text = "".join(chr(0x4E00 + number) for number in range(150))
    left = cut(text, limit)
    half = limit // 2
    assert left.startswith(text[:half])
    assert f"{150 - 2 * half:,} of 150 characters" in left
    assert left.endswith(text[150 - half :])
    assert len(left) < 2 * half + 60


def test_storable_text_stays_as_it_is() -> None:
    text = "é👩‍👩‍👧\r\n\x1b[31m\t\u2028"
    assert storable(text) == text


def with_html(*texts: str) -> ToolResult:
    files = [ToolFile(name=f"{n}.html", mime="text/html", data=b"whole", html=text) for n, text in enumerate(texts)]
    return ToolResult(text="tables", files=tuple(files))


async def test_a_table_is_made_harmless_before_it_is_kept_whoever_made_it(outside: Outside) -> None:
    async def work(context: ToolContext, n: int) -> ToolResult:
        return with_html(
            "<table onclick=alert(1)><tr><td>a<script>alert(1)</script></td></tr></table>", "", "<img src=x>"
        )

    event = await ended(outside, work)
    assert [file.html for file in event.artifacts] == [
        "<table><tbody><tr><td>a</td></tr></tbody></table>",
        "",
        "",
    ]
    assert [file.size for file in event.artifacts] == [5, 5, 5]


async def test_the_tables_of_one_call_are_bounded_and_what_is_too_much_is_a_file_alone(outside: Outside) -> None:
    async def work(context: ToolContext, n: int) -> ToolResult:
        return with_html(*["<table>" + "<tr><td>12345678</td></tr>" * 5_000 + "</table>"] * 40)

    event = await ended(outside, work)
    assert len(event.artifacts) == 40
    lengths = [len(file.html) for file in event.artifacts]
    assert lengths[0] > 1_000
    assert "Shown: 200 of 5,000 rows." in event.artifacts[0].html
    assert lengths[-1] == 0
    assert sum(lengths) < HTML_MAX_CHARACTERS + 2_000


@pytest.mark.parametrize(
    ("fraction", "words", "told"),
    [
        (0.25, "reading", (0.25, "reading")),
        (None, "", (None, "")),
        (1, "done", (1.0, "done")),
        (-3, "less than nothing", (0.0, "less than nothing")),
        (7.5, "more than all", (1.0, "more than all")),
        (float("nan"), "unknown", (None, "unknown")),
        (float("inf"), "more than all", (1.0, "more than all")),
        (0.5, " two\nlines  and\tblanks ", (0.5, "two lines and blanks")),
        (0.5, UNSTORABLE, (0.5, STORABLE)),
        (0.5, "long " * 1_000_000, (0.5, ("long " * 40))),
    ],
)
async def test_how_far_a_tool_is_is_shown_as_a_fraction_and_a_line(
    outside: Outside, fraction: float | None, words: str, told: tuple[float | None, str]
) -> None:
    async def work(context: ToolContext, n: int) -> str:
        context.progress(fraction, words)
        return "done"

    event = await ended(outside, work)
    assert outside.sink.told == [told]
    assert (event.output, event.result) == ("", "done")


async def test_progress_before_the_claim_goes_nowhere_bad(outside: Outside) -> None:
    execution(outside, double).progress(0.5, "too early")
    assert outside.sink.told == []


async def test_empty_output_and_output_to_unknown_streams_do_no_harm(outside: Outside) -> None:
    async def work(context: ToolContext, n: int) -> str:
        context.output("")
        context.output("x", stream="display")
        return "done"

    await ended(outside, work)
    assert outside.sink.parts == [("stdout", "x")]
