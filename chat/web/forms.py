"""Forms in another encoding than ours are refused before anything reads them.

Django refuses them too, but again while it draws the page that says so, and then there is no answer at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_and_async_middleware

FORM = "application/x-www-form-urlencoded"


@sync_and_async_middleware
def readable_forms(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Let requests by whose form can be read."""
    if iscoroutinefunction(get_response):

        async def answer(request: HttpRequest) -> Any:
            return _refusal(request) or await get_response(request)

        return answer

    return lambda request: _refusal(request) or get_response(request)


def _refusal(request: HttpRequest) -> HttpResponse | None:
    encoding = request.encoding or "utf-8"
    if request.content_type != FORM or encoding.lower() == "utf-8":
        return None
    return HttpResponse("Forms are sent as UTF-8.\n", status=400, content_type="text/plain; charset=utf-8")
