"""Addresses of the server, the first part of links and blob URLs."""

from __future__ import annotations

import ipaddress
import re
from contextvars import ContextVar

from aiohttp import web
from aiohttp.typedefs import Handler

__all__ = ["Address"]

# A host name or address with an optional port, as in the Host header.
_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\])(:\d{1,5})?", re.ASCII)

# The Host header of the current request.
_REACHED_AS: ContextVar[str] = ContextVar("reached_as")


class Address:
    """The address of a listening server.

    A server on a wildcard address such as 0.0.0.0 gives each client the address that the client
    used to reach it.
    """

    def __init__(self, host: str, port: int) -> None:
        address = ipaddress.ip_address(host.partition("%")[0])
        self._is_wildcard = address.is_unspecified
        if self._is_wildcard:
            host = "127.0.0.1" if address.version == 4 else "::1"
        self._local = f"[{host}]:{port}" if address.version == 6 else f"{host}:{port}"

    @property
    def local(self) -> str:
        """The address for clients on this machine, such as `http://127.0.0.1:8080`."""
        return f"http://{self._local}"

    def public(self) -> str:
        """The address for the client of the current request."""
        return f"http://{_REACHED_AS.get(self._local)}" if self._is_wildcard else self.local

    @web.middleware
    async def note(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """A middleware that records the address that each client used."""
        host = request.headers.get("Host", "")
        _REACHED_AS.set(host if _HOST.fullmatch(host) else self._local)
        return await handler(request)
