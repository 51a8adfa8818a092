"""Authentication with the workspace's credential, without blocking the event loop."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any

from azure.core.pipeline import PipelineContext, PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import AsyncBearerTokenCredentialPolicy, AsyncHTTPPolicy
from azure.quantum import Workspace

from cirq_azure_sessions.clock import Clock
from cirq_azure_sessions.errors import ServiceError
from cirq_azure_sessions.upstream import service_config
from cirq_azure_sessions.workspaces.azure.documents import without_secrets
from cirq_azure_sessions.workspaces.azure.network import call_either

__all__ = ["Credential", "Identity", "TokenSender"]

# The code and the sentence of the identity service, without the ids that follow.
_ENTRA_SENTENCE = re.compile(r"AADSTS\d+: .*?(?=\.(?:\s|$)|$| Trace ID| Correlation ID)")


# Seconds for which refusals of a previously accepted identity are retried: keys are rotated, roles
# take minutes to propagate, and the identity service has outages.
_REFUSAL_TIMEOUT = 900.0


class Identity:
    """Whether the service accepts the workspace's identity, a key or a credential.

    Args:
        clock: The clock for the time since the first refusal.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # State: whether it was ever accepted, in which case a later refusal is not due to a wrong
        # secret; and since when it has been refused, by the service or at sign-in.
        self.was_accepted = False
        self.refused_since: float | None = None

    def refused(self, error: ServiceError) -> ServiceError:
        """The error for a refusal. A transient one has no status, so that callers retry.

        It is permanent if the identity was never accepted, or has been refused for minutes.
        """
        now = self._clock.monotonic()
        if self.refused_since is None:
            self.refused_since = now
        if not self.was_accepted or now - self.refused_since >= _REFUSAL_TIMEOUT:
            return error
        return ServiceError(str(error), code=error.code, retry_after=error.retry_after)


class Credential:
    """The credential of the user's workspace, synchronous or not, as an asynchronous one.

    Its calls do not block the event loop. It outlives connections and event loops.

    Args:
        workspace: The user's workspace, which has the credential.
        identity: Records whether its tokens are accepted.
    """

    def __init__(self, workspace: Workspace, identity: Identity) -> None:
        config = service_config(workspace)
        self._identity = identity
        self.scopes: Sequence[str] = config.credential_scopes
        self.get_token = partial(self._ask, config.credential.get_token)
        # azure-core prefers this newer method if there is one.
        if hasattr(config.credential, "get_token_info"):
            self.get_token_info = partial(self._ask, config.credential.get_token_info)
        # State: whether it has returned a token.
        self._has_given = False

    async def _ask(self, get_token: Callable[..., Any], *scopes: str, **options: Any) -> Any:
        try:
            token = await call_either(get_token, *scopes, **options)
        except Exception as error:
            failure = self._failure(error)
        else:
            self._has_given = True
            return token
        raise failure

    def _failure(self, error: Exception) -> ServiceError:
        """The error for a failed token request.

        The SDK raises the same error for a wrong secret and for a network failure. After a first
        token it counts as the network unless Entra says otherwise, and has no status: it may be
        transient.
        """
        # A credential's message may quote its input; Entra's own code and sentence are safe.
        said = _ENTRA_SENTENCE.search(" ".join(str(error).split()))
        words = f": {without_secrets(said[0])}" if said else ""
        reason = f"{type(error).__name__}{words}"
        if self._has_given and not said:
            return ServiceError(f"Renewing the Azure sign-in failed ({reason}): try again later.")
        return self._identity.refused(
            ServiceError(
                f"Signing in to Azure failed ({reason}): run `az login`, or set AZURE_TENANT_ID, "
                "AZURE_CLIENT_ID and AZURE_CLIENT_SECRET.",
                status_code=401,
            )
        )


class TokenSender:
    """Sends requests with a token; azure-core's policy caches and renews it, and handles
    challenges.

    The policy runs alone: the rest of azure-core's pipeline takes as long as the request.

    Args:
        credential: The credential.
        send: Sends a request unchanged.
    """

    def __init__(self, credential: Credential, send: Callable[[Any], Awaitable[Any]]) -> None:
        tokens: Any = credential
        self._policy: Any = AsyncBearerTokenCredentialPolicy(tokens, *credential.scopes)
        self._policy.next = _Sending(send)

    async def send(self, request: Any) -> Any:
        """Sends a request that has a `url` and `headers`, to which the token is added.

        A refused token may have been revoked: the request is sent once more with another.
        """
        for is_last in (False, True):
            signed = PipelineRequest(request, PipelineContext(None))
            answer = (await self._policy.send(signed)).http_response
            if is_last or answer.status_code != HTTPStatus.UNAUTHORIZED:
                break
        return answer


class _Sending(AsyncHTTPPolicy[Any, Any]):
    """The last step after azure-core's policy: sends the request."""

    def __init__(self, send: Callable[[Any], Awaitable[Any]]) -> None:
        super().__init__()
        self._send = send

    async def send(self, request: PipelineRequest[Any]) -> PipelineResponse[Any, Any]:
        answer = await self._send(request.http_request)
        return PipelineResponse(request.http_request, answer, request.context)
