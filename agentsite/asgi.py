"""The ASGI application: pages by Django, sockets by Channels."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "agentsite.settings")
pages = get_asgi_application()

from channels.routing import ProtocolTypeRouter  # noqa: E402 - needs Django's apps

from chat.web.routing import sockets  # noqa: E402
from chat.web.server import with_lifespan  # noqa: E402
from chat.web.transfer import with_limit  # noqa: E402

application = with_lifespan(ProtocolTypeRouter({"http": with_limit(pages), "websocket": sockets}))
