"""The demo model: what a site without a model of its own answers.

Knows a handful of scripted answers and how to pick one. Must not know how they are sent. It never
pretends to be a real model, and the same prompt always gets the same answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from chat.llm.arguments import as_json
from chat.llm.scripted_steps import CallTool, FailStream, Pause, Refuse, Say, ScriptedRequest, Step

DEMO_MODEL: Final = "scripted-demo"

# A person sees that something is being thought about, and then reads along: about 40 tokens a second.
FIRST_TOKEN_S: Final = 0.3
TOKEN_S: Final = 0.025

RATE_LIMIT_RETRY_S: Final = 2

MAX_QUOTED_CHARACTERS: Final = 200

HOW_TO_CONNECT: Final = """\
To connect a real model, set `OPENAI_API_KEY` (or `OPENAI_BASE_URL` for a server of your own that \
speaks the OpenAI protocol) in `.env` and restart."""

WHAT_TO_ASK: Final = """\
- **sales** – a tool: code that runs after your yes, and a chart of what it found
- **short** – an answer in one sentence
- **long** – an answer of several hundred tokens, long enough to press Stop
- **code**, **table**, **math** – what Markdown looks like while it streams
- **fail** – an answer that breaks off in the middle
- **rate limit** – a refusal before the first word, asked again by itself"""

GREETING: Final = f"""\
Hello! I am a **scripted demo model**: no AI answers here, only prepared texts, sent at the pace of a real \
one.

{HOW_TO_CONNECT}

Until then you can try everything else. Send more messages while I answer, press Stop, reload the page, \
open a second tab. And there are words that I listen to:

{WHAT_TO_ASK}
"""

SHORT: Final = "This is the demo model's short answer, and it ends here.\n"

CODE: Final = '''\
The demo model's prepared piece of Python:

```python
def fold(events, state, step):
    """The state after all events: the same events always give the same state."""
    for event in events:
        state = step(state, event)
    return state


assert fold([1, 2, 3], 0, lambda total, event: total + event) == 6
```

Nothing was computed for it; a real model would write what you ask for.
'''

TABLE: Final = """\
The demo model's prepared table:

| Phase | What happens | Can you send? | Can you stop? |
|:--|:--|:-:|:-:|
| Idle | nothing | yes | – |
| Generating | an answer streams | yes, it queues | yes |
| Stopping | the connection closes | yes, it queues | already done |
"""

MATH: Final = r"""
The demo model's prepared mathematics. The solutions of $ax^2 + bx + c = 0$ are

$$x_{1,2} = \frac{-b \pm \sqrt{b^2 - 4ac}}{2a}$$

and the sum of the first $n$ numbers is

$$\sum_{k=1}^{n} k = \frac{n(n+1)}{2}$$
""".lstrip()

LONG: Final = f"""\
# A long answer of the demo model

This text was written beforehand. It is long so that there is time: to send the next message while it \
streams, to press Stop, to reload the page, or to open the same conversation in a second tab.

## What you can watch

1. The text appears piece by piece, as a real model's would.
2. Finished paragraphs stay as they are; only the last one is still drawn anew.
3. The page scrolls along as long as you are at its end, and leaves you alone when you read further up.

> A message that you send now is not lost. It waits in the queue until this answer has ended, and you can \
edit, move or remove it there.

## Some code

{CODE}
## A table

{TABLE}
## And some mathematics

{MATH}
## What happens when you press Stop

The site closes the connection to the model at once. What has arrived until then stays, marked as stopped, \
and the model sees it with your next message. Messages that wait in the queue are held, because *stop* \
means *stop*: you decide whether they go on.

- Nothing is computed any further.
- Nothing that you saw disappears.
- Nothing starts again by itself.

## How to get a real answer

{HOW_TO_CONNECT}

That was all. The demo model has nothing more to say about this, but it says it as often as you like.
"""

BEFORE_FAILURE: Final = """\
You asked the demo model to fail, so this answer breaks off in the middle of a sentence, just as a real \
server's sometimes does. What has arrived stays here. Retry asks again and will fail again, on purpose; \
and now the connection
"""

FAILURE: Final = "The demo model broke this answer off because it was asked to fail."
REFUSAL: Final = "The demo model refused, as if you had sent too many requests, because it was asked to."


def _spoken(text: str) -> tuple[Step, ...]:
    return Pause(seconds=FIRST_TOKEN_S), Say(text=text, delay_s=TOKEN_S)


_RATE_LIMIT: Final = Refuse(
    status=429,
    message=REFUSAL,
    kind="requests",
    code="rate_limit_exceeded",
    headers=(("retry-after", str(RATE_LIMIT_RETRY_S)),),
)

# The first that fits wins: what goes wrong, then the long answer with all the parts, then the parts.
_ANSWERS: Final[tuple[tuple[re.Pattern[str], tuple[Step, ...]], ...]] = tuple(
    (re.compile(rf"\b(?:{words})\b", re.IGNORECASE), steps)
    for words, steps in (
        (r"rate[ -]?limit\w*", (_RATE_LIMIT,)),
        (r"fail\w*", (*_spoken(BEFORE_FAILURE.rstrip()), FailStream(message=FAILURE))),
        (r"long\w*|story|essay", _spoken(LONG)),
        (r"code|python", _spoken(CODE)),
        (r"tables?", _spoken(TABLE)),
        (r"math\w*|formulas?|equations?", _spoken(MATH)),
        (r"short\w*|brief\w*", _spoken(SHORT)),
        (r"hello|hi|hey|help|who are you|what can you do", _spoken(GREETING)),
    )
)


SALES_QUESTION: Final = re.compile(r"\b(?:sales|csv|charts?|plots?|analy\w+|months?|monthly|trends?)\b", re.IGNORECASE)
BEFORE_SALES: Final = (
    "I will make up a year of sales, look at the first rows, and draw a chart of them. That takes a little Python.\n"
)
SALES_CODE: Final = """\
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

rng = np.random.default_rng(7)
days = pd.date_range("2025-01-01", "2025-12-31")
sales = pd.DataFrame({"day": days, "amount": rng.gamma(9, 30, len(days)) * (1 + days.month / 20)})
sales.to_csv("sales.csv", index=False)
display(sales.head())

for month in range(1, 13):
    total = sales[sales.day.dt.month == month].amount.sum()
    print(f"{month:2}  {total:10,.0f}", flush=True)
    time.sleep(0.15)

plt.figure(figsize=(8, 4))
sales.groupby(sales.day.dt.month).amount.sum().plot.bar(color="#0c6670", xlabel="month", ylabel="sales")
plt.title("Sales by month")
plt.tight_layout()
plt.show()
"""
AFTER_SALES: Final = """\
The demo model's prepared conclusion: sales grow from the beginning of the year to its end, as the chart shows. The \
table is in `sales.csv`, and the kernel still knows it as `sales`.

The numbers are made up; the code above really ran, in the sandbox and only after your yes.
"""
AFTER_REFUSAL: Final = """\
That did not work out, and the demo model can't think of another way. What became of the call:

> {result}
"""


def _sales(request: ScriptedRequest) -> tuple[Step, ...]:
    """The story of one tool call: what is proposed, and what is said when its outcome is known."""
    if not request.tool_results:
        return (*_spoken(BEFORE_SALES), CallTool(name="execute_python", arguments=as_json({"code": SALES_CODE})))
    result = request.tool_results[-1].content
    if "sales.csv" in result:
        return _spoken(AFTER_SALES)
    return _spoken(AFTER_REFUSAL.format(result=_quoted(result)))


def demo_script(request: ScriptedRequest) -> Sequence[Step]:
    """The answer to the last message of the user, chosen by the words in it."""
    question = request.last_user_text
    if "execute_python" in request.tools and SALES_QUESTION.search(question):
        return _sales(request)
    for pattern, steps in _ANSWERS:
        if pattern.search(question):
            return steps
    return _spoken(_reflection(question))


def _reflection(question: str) -> str:
    return f"""\
You wrote:

> {_quoted(question) or "nothing at all"}

I am a scripted demo model and can't think about it. {HOW_TO_CONNECT}

What I can show you, when one of these words is in your message:

{WHAT_TO_ASK}
"""


def _quoted(text: str) -> str:
    quoted = " ".join(text.split())
    return quoted if len(quoted) <= MAX_QUOTED_CHARACTERS else quoted[: MAX_QUOTED_CHARACTERS - 1] + "…"
