"""Who may come in, and what becomes of errors: the middleware between faults and routes."""

from __future__ import annotations

import hmac

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from cirq_azure_sessions.emulator.responses import refusal, translate

__all__ = ["gate_middleware"]

_KEY_HEADER = "x-ms-quantum-api-key"

# The storage is opened by signed addresses instead.
_GUARDED = ("/subscriptions/", "/emulator/")


def gate_middleware(key: str) -> Middleware:
    """Lets in who has the key, and turns errors into answers."""
    expected = key.encode()

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get(_KEY_HEADER, "").encode(errors="surrogateescape")
        if request.path.startswith(_GUARDED) and not hmac.compare_digest(given, expected):
            # As recorded: no body, and this header even for a key.
            headers = {"www-authenticate": 'Bearer error="invalid_token"'}
            return web.Response(status=401, headers=headers)
        try:
            return await handler(request)
        except Exception as error:
            return refusal(translate(error))

    return guard
