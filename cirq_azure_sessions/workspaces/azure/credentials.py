"""Signs in with the workspace's credential, without blocking the event loop."""

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


# Seconds for which an identity that was accepted before may be refused: keys are rotated, roles
# take minutes to spread, and the identity service has bad moments.
_REFUSAL_TIMEOUT = 900.0


class Identity:
    """Whether the service accepts the workspace's identity, which is a key or gives tokens.

    Args:
        clock: Where it is read for how long the identity is refused.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # State: whether it has been accepted, so that it is no wrong secret that is refused later;
        # and since when it has been refused, by the service or at the sign-in. The first answer
        # to a request that it signed sets both.
        self.was_accepted = False
        self.refused_since: float | None = None

    def refused(self, error: ServiceError) -> ServiceError:
        """The error for a refusal. A transient one has no status, so that callers retry.

        It does not pass where the identity was never accepted, or has been refused for minutes.
        """
        now = self._clock.monotonic()
        if self.refused_since is None:
            self.refused_since = now
        if not self.was_accepted or now - self.refused_since >= _REFUSAL_TIMEOUT:
            return error
        return ServiceError(str(error), code=error.code, retry_after=error.retry_after)


class Credential:
    """The credential of the user's workspace, which gives tokens, asynchronous or not.

    Its calls do not hold up the event loop. It outlives connections and event loops.

    Args:
        workspace: The user's workspace, whose own client's credential it is.
        identity: Whether its tokens are accepted.
    """

    def __init__(self, workspace: Workspace, identity: Identity) -> None:
        config = service_config(workspace)
        self._identity = identity
        self.scopes: Sequence[str] = config.credential_scopes
        self.get_token = partial(self._ask, config.credential.get_token)
        # azure-core asks for this newer method if it is there.
        if hasattr(config.credential, "get_token_info"):
            self.get_token_info = partial(self._ask, config.credential.get_token_info)
        # State: whether it has given a token.
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

        The SDK raises the same for a wrong secret and for a network that is away. After a first
        token it is the network, unless Entra says otherwise, and has no status: it may pass.
        """
        # Foreign words may quote what they were given; what Entra itself says is safe.
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
    """Sends requests with a token, which azure-core's policy keeps, renews and has challenged.

    The policy runs alone: the rest of azure-core's pipeline costs as much time as the request.

    Args:
        credential: What gives the tokens.
        send: Sends a request as it is.
    """

    def __init__(self, credential: Credential, send: Callable[[Any], Awaitable[Any]]) -> None:
        tokens: Any = credential
        self._policy: Any = AsyncBearerTokenCredentialPolicy(tokens, *credential.scopes)
        self._policy.next = _Sending(send)

    async def send(self, request: Any) -> Any:
        """Sends a request that has a `url` and `headers`, which get the token.

        A token that is refused may have been revoked: the request is sent once more with another.
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
