"""HTTP requests with retries; translates transport errors to `ServiceError`.

Errors of the network, the service or the credential become a `ServiceError`; neither it nor its
cause contains a URL's query, a key or a body. Errors in our own code are not translated, since a
retry would not help.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from functools import partial
from http import HTTPStatus
from ssl import CertificateError
from typing import Any, TypeGuard, TypeVar
from urllib.parse import quote, urlencode

from azure.core.exceptions import AzureError
from azure.quantum import Workspace
from yarl import URL

from cirq_azure_sessions.clock import Clock, backoff, retry
from cirq_azure_sessions.errors import AzureSessionsError, ServiceError
from cirq_azure_sessions.options import shortened
from cirq_azure_sessions.upstream import service_config
from cirq_azure_sessions.workspaces.azure.connections import (
    Answer,
    ConnectionPool,
    NotSent,
    ProxyRefused,
    Request,
    ResponseLost,
)
from cirq_azure_sessions.workspaces.azure.credentials import Credential, Identity, TokenSender
from cirq_azure_sessions.workspaces.azure.documents import UNREADABLE, parse, without_secrets
from cirq_azure_sessions.workspaces.azure.network import CannotConnect, NothingListens, is_loopback
from cirq_azure_sessions.workspaces.azure.pace import Pace

__all__ = ["HttpClient"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

# The scheme and authority of a URL.
_Origin = tuple[str, str]

# Retries wait 0.1 to 0.2 s, then twice that, and so on: a short fault costs tenths of a second, a
# long one is reported after 3 to 6 s.
_MAX_FAULTS = 5
_MAX_BACKOFF = 5.0
# A service that throttles, or says how long to wait, is alive, and is retried for longer: for at
# least this many seconds in total, and at most this many at a time, since a wait of a day would
# block even the closing of sessions.
_THROTTLING_TIMEOUT = 300.0
_MAX_RETRY_AFTER = 60.0

# An endless response must not fill the memory. A page of 100 jobs takes a few hundred KiB.
_MAX_DOCUMENT_BYTES = 64 * 2**20
# Nor must one that trickles in be read forever, which a read timeout does not prevent. So an
# exchange ends after this many seconds; one with storage may take longer, by the time for its
# bodies at this many bytes a second. One that has taken longer is not retried.
_EXCHANGE_TIMEOUT = 120.0
_MIN_RATE = 1024.0

# Request ids for support: ours is new for each attempt.
_CLIENT_ID_HEADER = "x-ms-client-request-id"
_SERVICE_ID_HEADER = "x-ms-request-id"
_API_KEY_HEADER = "x-ms-quantum-api-key"
# The version of the Blob Storage REST API in the recordings.
_STORAGE_VERSION = "2024-05-04"

# The maximum length of a path in messages: users may pass an id of any length.
_MAX_LABEL = 200
_ADVICE = {
    401: "check the key, or run `az login`",
    403: "check that you may use this workspace",
    404: "check the id and the workspace",
    407: "the proxy, not the service, requires a user name and a password: add them to its address "
    "in HTTPS_PROXY",
    429: "send fewer requests",
}

# The error code of storage if its network rules exclude this machine, regardless of the signature.
_FIREWALL_CODES = ("AuthorizationFailure", "AuthorizationSourceIPMismatch")
_FIREWALL_ADVICE = (
    "the storage account's firewall blocks this machine: allow its address in the account's "
    "networking settings"
)

# Errors of the network and of azure-core. `TimeoutError` and the errors of `ssl` and `socket` are
# `OSError`s.
_TRANSPORT_ERRORS = (AzureError, OSError)
# Errors after which a request certainly had no effect, so that any request may be repeated.
_NOT_SENT = (NotSent, ProxyRefused, CertificateError)


class HttpClient:
    """An HTTP client for one workspace on the service, and for its storage.

    It serves one event loop at a time; another may take over when the first is done.

    Args:
        workspace: The user's workspace, which is never changed.
        clock: The clock for pauses between retries.
        max_connections: The maximum number of connections at a time.
        read_timeout: Seconds without a byte after which a response counts as lost.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        clock: Clock,
        max_connections: int,
        read_timeout: float,
    ) -> None:
        config = service_config(workspace)
        self._clock = clock
        root = URL(
            f"{config.endpoint.rstrip('/')}/subscriptions/{workspace.subscription_id}"
            f"/resourceGroups/{workspace.resource_group}"
            f"/providers/Microsoft.Quantum/workspaces/{workspace.name}/"
        )
        # Percent-encoded: resource groups may have letters of any script.
        self._root = str(root)
        self._api_version = config.api_version
        self._user_agent = f"cirq-azure-sessions {config.user_agent_policy.user_agent}"
        gives_tokens = hasattr(config.credential, "get_token")
        self._key_credential = None if gives_tokens else config.credential
        self._identity = Identity(clock)
        self._credential = Credential(workspace, self._identity) if gives_tokens else None
        self._max_connections = max_connections
        self._read_timeout = read_timeout
        # State: the connections of the event loop that last sent a request, or None. Touched on
        # that loop only, so no lock guards it.
        self._connections: _Connections | None = None

    async def ask(
        self,
        method: str,
        path: tuple[str, ...],
        read: Callable[[Any], T],
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        repeatable: bool = True,
        timeout: float = _EXCHANGE_TIMEOUT,
    ) -> T:
        """Sends a request to the service.

        Args:
            method: The HTTP method.
            path: The path segments below the workspace.
            read: Converts the response's JSON, or None if it has no body. One of `UNREADABLE` means
                that it is garbage.
            query: Query parameters in addition to the API version.
            body: The JSON to send.
            repeatable: Whether to retry when the request may have taken effect, and when the
                service throttles.
            timeout: Seconds for a whole attempt.

        Raises:
            ServiceError: If there is no response, or only an error.
        """
        route = "/".join(quote(step, safe=":") for step in path)
        headers = {"Accept": "application/json", "User-Agent": self._user_agent}
        if self._key_credential is not None:
            headers[_API_KEY_HEADER] = self._key_credential.key
        content = None
        if body is not None:
            kind = "merge-patch+json" if method == "PATCH" else "json"
            headers["Content-Type"] = f"application/{kind}"
            content = json.dumps(body).encode()
        url = f"{self._root}{route}?api-version={self._api_version}"
        if query:
            # The service is known to accept spaces encoded as %20.
            url += f"&{urlencode(query, quote_via=quote)}"
        request = Request(
            f"{method} {shortened(route, _MAX_LABEL)}",
            method,
            URL(url, encoded=True),
            headers,
            content,
            _MAX_DOCUMENT_BYTES,
            timeout,
            math.inf,
            is_for_service=True,
        )

        def read_document(answer: Answer) -> T:
            # A response that is not JSON is from an intermediary, and transient. JSON is the
            # service's.
            status_code = None
            try:
                document = parse(answer.content) if answer.content else None
                status_code = answer.status_code
                return read(document)
            except UNREADABLE as error:
                reason = type(error).__name__
            raise ServiceError(
                f"The answer to {request.label} is not the expected JSON "
                f"({reason}): try again later.",
                status_code=status_code,
            )

        return await self._send(request, read_document, repeatable)

    async def store(
        self,
        method: str,
        url: str,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        max_bytes: float = math.inf,
    ) -> bytes:
        """Sends a request to storage, at a URL that carries a SAS; returns the response body.

        All such requests are repeatable: an upload never replaces a blob.

        Raises:
            ServiceError: If there is no response, or only an error. With status code 413 if the
                blob is larger than `max_bytes`.
        """
        address = URL(url)
        request = Request(
            f"{method} {shortened(address.raw_path.lstrip('/'), _MAX_LABEL)}",
            method,
            address,
            {"x-ms-version": _STORAGE_VERSION, "User-Agent": self._user_agent, **(headers or {})},
            content,
            max_bytes,
            _EXCHANGE_TIMEOUT,
            _MIN_RATE,
            is_for_service=False,
        )

        def read_content(answer: Answer) -> bytes:
            # Any other response to a PUT is from an intermediary: nothing was stored, and a job
            # without its input would be paid for nothing.
            if method == "PUT" and answer.status_code != HTTPStatus.CREATED:
                raise ServiceError(
                    f"Storage did not confirm {request.label}: check for a proxy in between."
                )
            if answer.headers.get("Content-Type", "").startswith("text/html"):
                raise ServiceError(
                    f"The answer to {request.label} is a web page, not a blob: check for a proxy "
                    "or a login page of your network."
                )
            if not answer.is_whole:
                raise ServiceError(
                    f"The answer to {request.label} is larger than {request.max_bytes:,} bytes: "
                    "make the AzureWorkspace with a larger max_result_bytes, such as math.inf.",
                    status_code=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                )
            return answer.content

        return await self._send(request, read_content, repeatable=True)

    async def aclose(self) -> None:
        """Closes the connections after the requests in flight; later requests open new ones."""
        if self._connections is not None:
            self._connections.pool.close()

    async def _send(self, request: Request, read: Callable[[Answer], T], repeatable: bool) -> T:
        """Sends a request until `read` accepts the response, or a retry is pointless."""
        was_sent = False
        failures: Counter[bool] = Counter()

        async def attempt() -> T:
            nonlocal was_sent
            origin = request.address.scheme, request.address.raw_authority
            pace = self._connect().paces[origin]
            # Jobs are submitted, and their sessions opened, before more inputs are stored.
            turn = await pace.turn(is_urgent=request.is_for_service and request.method == "PUT")
            connections = self._connect()
            request_id = request.headers[_CLIENT_ID_HEADER] = str(uuid.uuid4())
            try:
                answer = await connections.send(request)
            except _TRANSPORT_ERRORS as error:
                was_sent = not isinstance(error, _NOT_SENT)
                is_first = not self._identity.was_accepted and request.address.scheme == "http"
                failure = _lost(error, request.label, may_be_emulator=is_first)
            else:
                was_sent = True
                request_id = without_secrets(answer.headers.get(_SERVICE_ID_HEADER) or request_id)
                logger.debug(
                    "%s: HTTP %d, request %s", request.label, answer.status_code, request_id
                )
                if answer.status_code < 300:
                    pace.answered()
                    if request.is_for_service:
                        self._identity.was_accepted = True
                        self._identity.refused_since = None
                    return read(answer)
                failure = _refused(answer, request.label, self._clock.time())
                if failure.is_throttled or failure.retry_after is not None:
                    # A submission may be refused for the number of jobs, regardless of the pace,
                    # but hardly while other requests are refused too.
                    is_paused = pace.is_paused and request.method == "PUT"
                    was_sent = not (failure.is_throttled and is_paused)
                    if repeatable or not was_sent:
                        pace.refused(failure.retry_after, turn)
                    elif failure.retry_after is not None:
                        pace.pause(failure.retry_after)
                else:
                    pace.answered()
                if request.is_for_service and answer.status_code == HTTPStatus.UNAUTHORIZED:
                    failure = self._identity.refused(failure)
            # Support asks for these; without a response there is only the client's id.
            failure.request_id = request_id
            # Raised outside the handler, so that the failure has no context.
            raise failure

        def decide(error: AzureSessionsError, number: int, elapsed: float) -> float | None:
            # 1. Another attempt would not help, or might have its effect twice.
            is_fault = error.may_pass or (isinstance(error, ServiceError) and error.is_unreadable)
            if not is_fault or (was_sent and not repeatable):
                return None
            # 2. The time or the attempts for such errors are used up.
            is_throttled = isinstance(error, ServiceError) and error.is_throttled
            is_asked_to_wait = is_throttled or error.retry_after is not None
            failures[is_asked_to_wait] += 1
            if is_asked_to_wait:
                # 3. The next attempt waits its turn, as all requests to this host do. Where many
                # do, that alone may take minutes.
                is_often = failures[True] > _MAX_FAULTS
                return None if is_often and elapsed >= _THROTTLING_TIMEOUT else 0.0
            if failures[False] > _MAX_FAULTS or elapsed >= _EXCHANGE_TIMEOUT:
                return None
            # 4. Exponential backoff.
            return backoff(failures[False], max_delay=_MAX_BACKOFF)

        return await retry(self._clock, attempt, decide)

    def _connect(self) -> _Connections:
        """The connections of the running loop.

        Those of another loop are not touched: it is closed, or the parent process's. After a close,
        new connections continue at the pace of the old.
        """
        last = self._connections
        paces: dict[_Origin, Pace] = defaultdict(partial(Pace, self._clock))
        if last is not None and last.pool.loop is asyncio.get_running_loop():
            if not last.pool.is_closing:
                return last
            paces = last.paces
        self._connections = _Connections(
            self._credential, self._max_connections, self._read_timeout, paces
        )
        return self._connections


class _Connections:
    """The connections of the running event loop, with the workspace's credential.

    Args:
        credential: The credential, or None if the workspace has a key.
        max_connections: The maximum number of requests at a time, to the service and its storage
            together.
        read_timeout: Seconds without a byte after which a response counts as lost.
        paces: The pace of the requests to each origin.
    """

    def __init__(
        self,
        credential: Credential | None,
        max_connections: int,
        read_timeout: float,
        paces: dict[_Origin, Pace],
    ) -> None:
        self.pool = ConnectionPool(max_connections, read_timeout)
        self.paces = paces
        self._tokens = None if credential is None else TokenSender(credential, self.pool.send)

    async def send(self, request: Request) -> Answer:
        """Sends a request once, with a token if the service needs one."""
        if self._tokens is None or not request.is_for_service:
            return await self.pool.send(request)
        answer: Answer = await self._tokens.send(request)
        return answer


def _lost(error: Exception, what: str, *, may_be_emulator: bool) -> ServiceError:
    """The error for a request without a response."""
    name = type(error).__name__
    if may_be_emulator and _is_refused_here(error):
        return NothingListens(error.host, error.port)
    if isinstance(error, CertificateError):
        reason = error.verify_message or name
        return CannotConnect(
            f"The certificate of the server for {what} is not trusted ({reason}): put the "
            "path of your organization's certificates in REQUESTS_CA_BUNDLE, or ask who "
            "intercepts the traffic."
        )
    if isinstance(error, ProxyRefused):
        return ServiceError(
            f"The proxy refused {what} with HTTP {error.status}: "
            f"{_ADVICE[407] if error.status == 407 else 'check the proxy'}.",
            status_code=error.status,
        )
    if isinstance(error, NotSent):
        return ServiceError(
            f"No connection could be made for {what} ({error}): check the network and the endpoint."
        )
    if isinstance(error, TimeoutError):
        return ServiceError(f"{what} was not answered in time: try again later.")
    if isinstance(error, AzureError):
        # azure-core's policies refuse to send it, such as a token without TLS.
        words = without_secrets(str(error))
        return ServiceError(f"The credential cannot be used for {what}: {words}", status_code=401)
    reason = str(error) if isinstance(error, ResponseLost) else name
    return ServiceError(f"The answer to {what} was lost ({reason}): check the network.")


def _is_refused_here(error: Exception) -> TypeGuard[NotSent]:
    """Whether a port of this machine refused the connection."""
    return isinstance(error, NotSent) and error.is_refused and is_loopback(error.host)


def _refused(response: Answer, what: str, now: float) -> ServiceError:
    """The error for an error status."""
    status = response.status_code
    if status < 400:
        # No status, since it may succeed once the network allows it.
        return ServiceError(
            f"{what} was answered with HTTP {status}, which the service never sends: check for "
            "a proxy or a login page of your network."
        )
    code, message = _explanation(response)
    advice = _ADVICE.get(status, "try again later" if status >= 500 else "")
    if status == HTTPStatus.FORBIDDEN and code in _FIREWALL_CODES:
        advice = _FIREWALL_ADVICE
    reason = f" ({code})" if code else ""
    words = f" The service says: {message}" if message else ""
    return ServiceError(
        f"{what} was answered with HTTP {status}{reason}{advice and f': {advice}'}.{words}",
        status_code=status,
        code=code,
        retry_after=_retry_after(response.headers, now),
    )


def _explanation(response: Answer) -> tuple[str, str]:
    """The error's code and message, redacted."""
    # Storage's XML may quote the string that it signed; its code is enough.
    code = response.headers.get("x-ms-error-code") or ""
    try:
        error = parse(response.content)["error"]
        return without_secrets(str(error["code"])), without_secrets(str(error["message"]))
    except UNREADABLE:
        return without_secrets(code), ""


def _retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """The seconds that the service asks to wait, from either of its headers.

    More than `_MAX_RETRY_AFTER` is a mistake, or due to a difference between clocks. Zero is
    ignored, since a host that cannot serve must not be asked without a pause.
    """
    try:
        if "Retry-After" in headers:
            seconds = _seconds(headers["Retry-After"], now)
        else:
            seconds = float(headers["x-ms-retry-after-ms"]) / 1000
    except (ValueError, LookupError, OverflowError, OSError):
        return None
    return min(seconds, _MAX_RETRY_AFTER) if 0.0 < seconds < math.inf else None


def _seconds(text: str, now: float) -> float:
    try:
        return float(text)
    except ValueError:
        return float(parsedate_to_datetime(text).timestamp()) - now
