"""Addresses of sockets, and who comes in. Unknown addresses are answered as conversations that do not exist."""

from __future__ import annotations

from typing import Any

from channels.auth import AuthMiddleware
from channels.routing import URLRouter
from channels.sessions import CookieMiddleware, InstanceSessionWrapper, SessionMiddleware
from django.urls import path, re_path

from chat.store.threads import in_thread
from chat.web import accounts
from chat.web.consumers import ConversationConsumer, JsonConversationConsumer, NowhereConsumer
from chat.web.transfer import Receive, Scope, Send

websocket_urlpatterns = [
    path("ws", JsonConversationConsumer.as_asgi()),
    path("ws/", JsonConversationConsumer.as_asgi()),
    path("ws/c/<uuid:conversation_id>/", ConversationConsumer.as_asgi()),
    re_path("", NowhereConsumer.as_asgi()),
]


class _SessionMiddleware(SessionMiddleware):  # type: ignore[misc]
    """Channels', but for what a socket sends: it looks at each frame for a cookie to set, and no frame carries one."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        session = InstanceSessionWrapper(scope, send)
        await session.resolve_session()
        return await self.inner(session.scope, receive, send)


class _AuthMiddleware(AuthMiddleware):  # type: ignore[misc]
    """Channels', but for sessions that began under a former SECRET_KEY, which it would end."""

    async def resolve_scope(self, scope: Scope) -> None:
        scope["user"]._wrapped = await in_thread(accounts.user_of, scope["session"])


sockets = CookieMiddleware(_SessionMiddleware(_AuthMiddleware(URLRouter(websocket_urlpatterns))))
