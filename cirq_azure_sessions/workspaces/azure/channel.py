"""Requests and answers: what is sent again after a fault, and the door at which errors change.

Every error that leaves here is a `ServiceError`, or of a blob a `ResultFormatError`. None of them,
nor what it was raised from, holds a URL's query, a key or a body.
"""

from __future__ import annotations

import json
import logging
import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import aiohttp
from azure.core.exceptions import AzureError
from azure.core.rest import HttpRequest
from azure.quantum import Workspace

from cirq_azure_sessions.clock import Clock
from cirq_azure_sessions.errors import ResultFormatError, ServiceError
from cirq_azure_sessions.workspaces.azure.connections import Answer, Connections
from cirq_azure_sessions.workspaces.azure.documents import without_secrets

__all__ = ["Channel"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

# A request that met a fault is sent again so often, after 0.1 to 0.2 s, then twice that, and so on:
# a short fault costs tenths of a second, a long one is reported after 3 to 6 s.
_MOST_FAULTS = 5
_FIRST_BACKOFF = 0.2
_LONGEST_BACKOFF = 5.0
# A service that asks for patience is alive, and believed for longer: for so many seconds in all,
# and for so many at a time, since one that says a day would hold up even the closing of sessions.
_THROTTLED_SECONDS = 300.0
_LONGEST_WAIT = 60.0

# The version of the Blob Storage REST API in the recordings.
_STORAGE_VERSION = "2024-05-04"

_ADVICE = {
    401: "check the key, or run `az login`",
    403: "check that you may use this workspace",
    404: "check the id and the workspace",
    429: "send fewer requests",
}


class _NotSent(ServiceError):
    """No connection could be made, so the request has had no effect."""


class Channel:
    """The way to one workspace on the service, and to its storage.

    It serves one event loop at a time: a new one may take over when the first is done.

    Args:
        workspace: The user's workspace, which is read and never changed.
        clock: Where the waits before repetitions pass.
        max_connections: The most connections at a time.
        read_timeout: Seconds without a byte after which an answer counts as lost.
    """

    def __init__(
        self, workspace: Workspace, *, clock: Clock, max_connections: int, read_timeout: float
    ) -> None:
        config = workspace._client._config
        self._workspace = workspace
        self._clock = clock
        self._max_connections = max_connections
        self._read_timeout = read_timeout
        self._root = (
            f"{config.endpoint.rstrip('/')}/subscriptions/{workspace.subscription_id}"
            f"/resourceGroups/{workspace.resource_group}"
            f"/providers/Microsoft.Quantum/workspaces/{workspace.name}/"
        )
        self._api_version = config.api_version
        self._user_agent = f"cirq-azure-sessions {config.user_agent_policy.user_agent}"
        # State: the connections of the event loop that last sent a request, or None. Touched on
        # that loop only, so no lock guards it.
        self._connections: Connections | None = None

    async def ask(
        self,
        method: str,
        path: str,
        read: Callable[[Any], T],
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        repeatable: bool = True,
    ) -> T:
        """Asks the service.

        Args:
            method: The HTTP method.
            path: Where, below the workspace.
            read: Makes a value of the answer's JSON, None if it has no body. A `ValueError`,
                `TypeError`, `LookupError` or `AttributeError` of it means that it is garbage.
            query: Query parameters beside the API version.
            body: What to send as JSON.
            repeatable: Whether to send the request again when it may or may not have taken effect,
                and when the service asks for patience.

        Raises:
            ServiceError: If there is no answer, or not a good one.
        """
        what = f"{method} {path}"
        url = f"{self._root}{path}?{urlencode({**(query or {}), 'api-version': self._api_version})}"
        headers = {"Accept": "application/json", "User-Agent": self._user_agent}
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body).encode()

        async def attempt() -> T:
            request = HttpRequest(method, url, headers=headers, content=content)
            response = await self._answer(self._connect().send_to_service(request), what)
            return _read(response, read, what)

        return await self._repeat(attempt, repeatable)

    async def store(
        self,
        method: str,
        url: str,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """Asks storage, at a URL that carries a SAS, and returns the body of the answer.

        Such requests are made to be repeatable: an upload never replaces a blob.

        Raises:
            ServiceError: If there is no answer, or not a good one.
            ResultFormatError: If the answer is too large to be a result.
        """
        what = f"{method} {urlsplit(url).path.lstrip('/')}"
        all_headers = {
            "x-ms-version": _STORAGE_VERSION,
            "User-Agent": self._user_agent,
            **(headers or {}),
        }

        async def attempt() -> bytes:
            request = HttpRequest(method, url, headers=all_headers, content=content)
            response = await self._answer(self._connect().send_to_storage(request), what)
            # Any other answer to a PUT comes from something in between: nothing was stored, and a
            # job without its input would be paid for nothing.
            if method == "PUT" and response.status_code != HTTPStatus.CREATED:
                raise ServiceError(f"Storage did not confirm {what}: check for a proxy in between.")
            if not response.is_whole:
                raise ResultFormatError(
                    f"The answer to {what} is larger than any result: see the job in the portal."
                )
            return response.content

        return await self._repeat(attempt, repeatable=True)

    async def aclose(self) -> None:
        """Closes the connections; the next request makes new ones."""
        self._drop_foreign()
        connections, self._connections = self._connections, None
        if connections is not None:
            await connections.aclose()

    def _connect(self) -> Connections:
        self._drop_foreign()
        if self._connections is None:
            self._connections = Connections(
                self._workspace, self._max_connections, self._read_timeout
            )
        return self._connections

    def _drop_foreign(self) -> None:
        """Forgets connections of another event loop: it is over, or stayed behind in a parent."""
        if self._connections is not None and not self._connections.is_here:
            self._connections.abandon()
            self._connections = None

    async def _repeat(self, attempt: Callable[[], Awaitable[T]], repeatable: bool) -> T:
        """Makes attempts until one succeeds or its error is to be raised."""
        errors: Counter[bool] = Counter()
        began = self._clock.monotonic()
        while True:
            try:
                return await attempt()
            except _NotSent as failure:
                error, may_repeat = ServiceError(str(failure)), True
            except ServiceError as failure:
                error, may_repeat = failure, repeatable
            errors[error.is_throttled] += 1
            spent = self._clock.monotonic() - began
            pause = _pause(error, errors[error.is_throttled], spent) if may_repeat else None
            if pause is None:
                raise error
            logger.debug(
                "%s Trying again in %.2g s.",
                error,
                pause,
                extra={"status_code": error.status_code, "code": error.code, "pause": pause},
            )
            await self._clock.sleep(pause)

    async def _answer(self, sending: Awaitable[Answer], what: str) -> Answer:
        """The door: what comes out of here is a good answer or a `ServiceError`."""
        try:
            response = await sending
        except ServiceError:
            raise
        except Exception as error:
            failure = _lost(error, what)
        else:
            if response.status_code < 300:
                return response
            failure = _refused(response, what, self._clock.time())
        # Raised out here, the failure does not drag along what it was made from.
        raise failure


def _pause(error: ServiceError, number: int, spent: float) -> float | None:
    """Seconds to wait before a request is repeated, or None if that would not help.

    Args:
        error: What became of the last attempt.
        number: How many errors of its kind there were by now.
        spent: Seconds since the first attempt.
    """
    # 1. It is not a matter of time.
    if not error.may_pass:
        return None
    # 2. It has been tried for long enough.
    if spent >= _THROTTLED_SECONDS if error.is_throttled else number > _MOST_FAULTS:
        return None
    # 3. The service says how long.
    if error.retry_after is not None:
        return error.retry_after
    # 4. Each time twice as long, and not in step with all others that met the same fault.
    longest = min(_FIRST_BACKOFF * 2.0 ** (number - 1), _LONGEST_BACKOFF)
    return longest * random.uniform(0.5, 1.0)


def _lost(error: Exception, what: str) -> ServiceError:
    """The error for a request without an answer."""
    name = type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return _NotSent(
            f"No connection could be made for {what} ({name}): check the network and the endpoint."
        )
    if isinstance(error, TimeoutError):
        return ServiceError(f"No answer to {what} came in time: try again later.")
    if isinstance(error, AzureError):
        # What azure-core's policies refuse to send, such as a token without TLS.
        words = without_secrets(str(error))
        return ServiceError(f"The credential cannot be used for {what}: {words}", status_code=401)
    return ServiceError(f"The answer to {what} was lost ({name}): check the network.")


def _refused(response: Answer, what: str, now: float) -> ServiceError:
    """The error for an answer that says no."""
    status = response.status_code
    code, message = _explanation(response)
    advice = _ADVICE.get(status, "try again later" if status >= 500 else "see what it says")
    reason = f" ({code})" if code else ""
    words = f" It says: {message}" if message else ""
    return ServiceError(
        f"HTTP {status}{reason} was the answer to {what}: {advice}.{words}",
        status_code=status,
        code=code,
        retry_after=_retry_after(response.headers, now),
    )


def _explanation(response: Answer) -> tuple[str, str]:
    """The error's code and message, as far as they are fit to be shown."""
    # Storage explains itself in XML, and may quote the string it signed; its code is enough.
    code = response.headers.get("x-ms-error-code") or ""
    try:
        error = json.loads(response.content)["error"]
        return without_secrets(str(error["code"])), without_secrets(str(error["message"]))
    except (ValueError, TypeError, LookupError, RecursionError):
        return without_secrets(code), ""


def _retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """The seconds that the service asks to wait, within reason, if it says so in one of its ways.

    More than `_LONGEST_WAIT` is asked for by mistake, or by a clock that differs from ours.
    """
    try:
        if "Retry-After" in headers:
            seconds = _seconds(headers["Retry-After"], now)
        else:
            seconds = float(headers["x-ms-retry-after-ms"]) / 1000
    except (ValueError, LookupError):
        return None
    return min(max(seconds, 0.0), _LONGEST_WAIT) if math.isfinite(seconds) else None


def _seconds(text: str, now: float) -> float:
    try:
        return float(text)
    except ValueError:
        return float(parsedate_to_datetime(text).timestamp()) - now


def _read(response: Answer, read: Callable[[Any], T], what: str) -> T:
    try:
        return read(json.loads(response.content) if response.content else None)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        reason = type(error).__name__
    raise ServiceError(
        f"The answer to {what} is not what the service promises ({reason}): try again later."
    )
