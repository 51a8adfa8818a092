"""Counts the emulator's requests, and lets each go wrong as `Faults` says."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from cirq_azure_sessions.clock import Clock
from cirq_azure_sessions.emulator.api_error import error_document
from cirq_azure_sessions.emulator.fault_kinds import RequestFault
from cirq_azure_sessions.emulator.faults import Faults
from cirq_azure_sessions.emulator.requests import Requests
from cirq_azure_sessions.emulator.route_names import CONTROL, STORAGE_ROUTES, route_name
from cirq_azure_sessions.emulator.storage_error import error_xml

__all__ = ["fault_middleware"]

# What Azure's services say with these statuses; storage calls both of the last two ServerBusy.
_CODES = {429: "TooManyRequests", 500: "InternalServerError", 503: "ServiceUnavailable"}
_STORAGE_CODES = {429: "ServerBusy", 500: "InternalError", 503: "ServerBusy"}


def fault_middleware(faults: Faults, requests: Requests, clock: Clock) -> Middleware:
    """The outermost middleware of the server.

    Every request but those to the emulator's own controls is counted, waits the latency, and meets
    at most one fault.

    Args:
        faults: What is to go wrong.
        requests: Where requests are counted.
        clock: Latency and delays.
    """

    @web.middleware
    async def disturb(request: web.Request, handler: Handler) -> web.StreamResponse:
        name = route_name(request.method, request.path)
        if name == CONTROL:
            return await handler(request)
        requests.count(name)
        fault = faults.take_request(request.method, request.path)
        delay = faults.latency + (fault.delay if fault else 0.0)
        if delay > 0:
            await clock.sleep(delay)
        if fault is None or fault.is_only_late:
            return await handler(request)
        if fault.after:
            await handler(request)
        if fault.is_reset:
            _cut(request)
        return _answer(fault, is_storage=name in STORAGE_ROUTES)

    return disturb


def _cut(request: web.Request) -> None:
    """Drops the connection at once: what is still to be read or written is lost."""
    if request.transport is not None:
        request.transport.abort()


def _answer(fault: RequestFault, *, is_storage: bool) -> web.Response:
    if fault.status is None:
        return web.Response(text=fault.garbage or "", content_type="application/json")
    headers = {}
    if fault.retry_after is not None:
        headers["Retry-After"] = f"{fault.retry_after:g}"
    codes = _STORAGE_CODES if is_storage else _CODES
    code = fault.code or codes.get(fault.status) or HTTPStatus(fault.status).name
    if not is_storage:
        document = error_document(code, fault.message)
        return web.json_response(document, status=fault.status, headers=headers)
    headers["x-ms-error-code"] = code
    return web.Response(
        status=fault.status,
        text=error_xml(code, fault.message),
        content_type="application/xml",
        headers=headers,
    )
