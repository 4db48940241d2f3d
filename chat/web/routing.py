"""Addresses of sockets. Unknown ones are answered as conversations that do not exist."""

from __future__ import annotations

from django.urls import path, re_path

from chat.web.consumers import ConversationConsumer, JsonConversationConsumer, NowhereConsumer

websocket_urlpatterns = [
    path("ws", JsonConversationConsumer.as_asgi()),
    path("ws/", JsonConversationConsumer.as_asgi()),
    path("ws/c/<uuid:conversation_id>/", ConversationConsumer.as_asgi()),
    re_path("", NowhereConsumer.as_asgi()),
]
