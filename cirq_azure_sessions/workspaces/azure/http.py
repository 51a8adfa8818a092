"""HTTP requests with retries; translates transport errors to `ServiceError`.

What the network, the service or the credential raises leaves here as a `ServiceError`; neither it
nor what it was raised from holds a URL's query, a key or a body. Errors of our own code pass as
they are: they are not worth a retry.
"""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
from azure.core.exceptions import AzureError
from azure.core.rest import HttpRequest
from azure.quantum import Workspace

from cirq_azure_sessions.clock import Clock, RetryDecision, backoff, retry
from cirq_azure_sessions.errors import AzureSessionsError, ServiceError
from cirq_azure_sessions.workspaces.azure.connections import Answer, Connections
from cirq_azure_sessions.workspaces.azure.documents import without_secrets

__all__ = ["HttpClient"]

T = TypeVar("T")

# Retries after a fault wait 0.1 to 0.2 s, then twice that, and so on: a short fault costs tenths of
# a second, a long one is reported after 3 to 6 s.
_MAX_FAULTS = 5
_MAX_BACKOFF = 5.0
# A service that throttles is alive, and believed for longer: for this many seconds in all, and for
# this many at a time, since one that says a day would hold up even the closing of sessions.
_THROTTLING_TIMEOUT = 300.0
_MAX_RETRY_AFTER = 60.0

# An answer without an end must not fill the memory. A page of 100 jobs takes a few hundred KiB.
_MAX_DOCUMENT_BYTES = 64 * 2**20

# The version of the Blob Storage REST API in the recordings.
_STORAGE_VERSION = "2024-05-04"

_ADVICE = {
    401: "check the key, or run `az login`",
    403: "check that you may use this workspace",
    404: "check the id and the workspace",
    429: "send fewer requests",
}


# What the network and the service raise through aiohttp and azure-core. `TimeoutError` and the
# errors of `ssl` and `socket` are among the `OSError`s.
_TRANSPORT_ERRORS = (aiohttp.ClientError, AzureError, OSError)


class _NotSent(ServiceError):
    """No connection could be made, so the request had no effect and any may be sent again."""


class HttpClient:
    """An HTTP client for one workspace on the service, and for its storage.

    It serves one event loop at a time: a new one may take over when the first is done.

    Args:
        workspace: The user's workspace, which is read and never changed.
        clock: Where the pauses between retries pass.
        max_connections: The maximum number of connections at a time.
        read_timeout: Seconds without a byte after which an answer counts as lost.
        max_result_bytes: The maximum size of a blob to download; None sets no limit.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        clock: Clock,
        max_connections: int,
        read_timeout: float,
        max_result_bytes: float | None,
    ) -> None:
        config = workspace._client._config
        self._workspace = workspace
        self._clock = clock
        self._max_connections = max_connections
        self._read_timeout = read_timeout
        self._max_result_bytes = math.inf if max_result_bytes is None else max_result_bytes
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
        """Sends a request to the service.

        Args:
            method: The HTTP method.
            path: The path below the workspace.
            read: Makes a value of the answer's JSON, or of None if it has no body. A `ValueError`,
                `TypeError`, `LookupError` or `AttributeError` of it means that it is garbage.
            query: Query parameters beside the API version.
            body: What to send as JSON.
            repeatable: Whether to retry when the request may have taken effect, and when the
                service throttles.

        Raises:
            ServiceError: If there is no answer, or not a good one.
        """
        what = f"{method} {path}"
        parameters = {**(query or {}), "api-version": self._api_version}
        # The service is known to read spaces written as %20.
        url = f"{self._root}{path}?{urlencode(parameters, quote_via=quote)}"
        headers = {"Accept": "application/json", "User-Agent": self._user_agent}
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body).encode()

        async def attempt() -> T:
            request = HttpRequest(method, url, headers=headers, content=content)
            sending = self._connect().send_to_service(request, max_bytes=_MAX_DOCUMENT_BYTES)
            return _read(await self._answer(sending, what), read, what)

        return await self._retry(attempt, repeatable)

    async def store(
        self,
        method: str,
        url: str,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """Sends a request to storage, at a URL that carries a SAS; returns the answer's body.

        Such requests are made to be repeatable: an upload never replaces a blob.

        Raises:
            ServiceError: If there is no answer, or not a good one. With status code 413 if the blob
                is larger than `max_result_bytes`.
        """
        what = f"{method} {urlsplit(url).path.lstrip('/')}"
        all_headers = {
            "x-ms-version": _STORAGE_VERSION,
            "User-Agent": self._user_agent,
            **(headers or {}),
        }

        async def attempt() -> bytes:
            request = HttpRequest(method, url, headers=all_headers, content=content)
            sending = self._connect().send_to_storage(request, max_bytes=self._max_result_bytes)
            response = await self._answer(sending, what)
            # Any other answer to a PUT comes from something in between: nothing was stored, and a
            # job without its input would be paid for nothing.
            if method == "PUT" and response.status_code != HTTPStatus.CREATED:
                raise ServiceError(f"Storage did not confirm {what}: check for a proxy on the way.")
            if not response.is_whole:
                raise ServiceError(
                    f"The answer to {what} is larger than {self._max_result_bytes:,} bytes: "
                    "make the AzureWorkspace with a larger max_result_bytes, or None.",
                    status_code=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                )
            return response.content

        return await self._retry(attempt, repeatable=True)

    async def aclose(self) -> None:
        """Closes the connections when the requests in flight are finished; later ones open new."""
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

    async def _retry(self, attempt: Callable[[], Awaitable[T]], repeatable: bool) -> T:
        try:
            return await retry(self._clock, attempt, _retry_decision(repeatable))
        except _NotSent as error:
            failure = ServiceError(str(error))
        raise failure

    async def _answer(self, sending: Coroutine[Any, Any, Answer], what: str) -> Answer:
        """The one place where errors of transport and service become `ServiceError`."""
        try:
            response = await sending
        except _TRANSPORT_ERRORS as error:
            failure = _lost(error, what)
        else:
            if response.status_code < 300:
                return response
            failure = _refused(response, what, self._clock.time())
        # Raised out here, the failure does not drag along what it was made from.
        raise failure


def _retry_decision(repeatable: bool) -> RetryDecision:
    """The policy for one request; see `_MAX_FAULTS` and `_THROTTLING_TIMEOUT`."""
    failures: Counter[bool] = Counter()

    def decide(error: AzureSessionsError, attempt: int, elapsed: float) -> float | None:
        # 1. Another attempt would not help, or might do twice what is to be done once.
        if not error.may_pass or not (repeatable or isinstance(error, _NotSent)):
            return None
        # 2. The budget for errors of this kind is spent.
        is_throttled = isinstance(error, ServiceError) and error.is_throttled
        failures[is_throttled] += 1
        if elapsed >= _THROTTLING_TIMEOUT if is_throttled else failures[False] > _MAX_FAULTS:
            return None
        # 3. The service says how long to wait.
        if error.retry_after is not None:
            return error.retry_after
        # 4. Exponential backoff, out of step with all others that met the same fault.
        return backoff(failures[is_throttled], longest=_MAX_BACKOFF) * random.uniform(0.5, 1.0)

    return decide


def _lost(error: Exception, what: str) -> ServiceError:
    """The error for a request without an answer."""
    name = type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return _NotSent(
            f"No connection could be made for {what} ({name}): check the network and the endpoint."
        )
    if isinstance(error, TimeoutError):
        return ServiceError(f"{what} was not answered in time: try again later.")
    if isinstance(error, AzureError):
        # What azure-core's policies refuse to send, such as a token without TLS.
        words = without_secrets(str(error))
        return ServiceError(f"The credential cannot be used for {what}: {words}", status_code=401)
    return ServiceError(f"The answer to {what} was lost ({name}): check the network.")


def _refused(response: Answer, what: str, now: float) -> ServiceError:
    """The error for an answer that says no."""
    status = response.status_code
    code, message = _explanation(response)
    advice = _ADVICE.get(status, "try again later" if status >= 500 else "")
    reason = f" ({code})" if code else ""
    words = f" The service says: {message}" if message else ""
    return ServiceError(
        f"{what} was answered with HTTP {status}{reason}{advice and f': {advice}'}.{words}",
        status_code=status,
        code=code,
        retry_after=_retry_after(response.headers, now),
    )


def _explanation(response: Answer) -> tuple[str, str]:
    """The error's code and message, as far as they may be shown."""
    # Storage explains itself in XML, and may quote the string it signed; its code is enough.
    code = response.headers.get("x-ms-error-code") or ""
    try:
        error = json.loads(response.content)["error"]
        return without_secrets(str(error["code"])), without_secrets(str(error["message"]))
    except (ValueError, TypeError, LookupError, RecursionError):
        return without_secrets(code), ""


def _retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """The seconds that the service asks to wait, from either of its headers.

    More than `_MAX_RETRY_AFTER` is a mistake, or comes from a clock that differs from ours.
    """
    try:
        if "Retry-After" in headers:
            seconds = _seconds(headers["Retry-After"], now)
        else:
            seconds = float(headers["x-ms-retry-after-ms"]) / 1000
    except (ValueError, LookupError):
        return None
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER) if math.isfinite(seconds) else None


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
        f"The answer to {what} is not the JSON that the service promises ({reason}): "
        "try again later."
    )
