"""A page with a form, made with Django, which compares Origin with Host for its protection."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import django
import uvicorn
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.urls import path

from tests.support.program import run


def form(request: HttpRequest) -> HttpResponse:
    """C{GET} gives the token that a C{POST} has to bring."""
    return HttpResponse("saved" if request.method == "POST" else get_token(request))


urlpatterns = [path("", form)]


async def serve(options: dict[str, Any]) -> int:
    settings.configure(
        ALLOWED_HOSTS=options["allowed_hosts"],
        MIDDLEWARE=["django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware"],
        ROOT_URLCONF=__name__,
        SECRET_KEY="of the tests",
    )
    django.setup()
    listening = socket.create_server(("127.0.0.1", options["port"]))
    server = uvicorn.Server(uvicorn.Config(get_asgi_application(), lifespan="off", log_config=None))
    running.append(asyncio.create_task(server.serve([listening])))
    while not server.started:
        await asyncio.sleep(0.01)
    port: int = listening.getsockname()[1]
    return port


running: list[asyncio.Task[None]] = []

if __name__ == "__main__":
    run(serve)
