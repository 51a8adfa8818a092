"""Signing in with the credential of the user's workspace, without holding up the event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from azure.core.pipeline import PipelineContext, PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import AsyncBearerTokenCredentialPolicy, AsyncHTTPPolicy
from azure.quantum import Workspace

from cirq_azure_sessions.errors import ServiceError
from cirq_azure_sessions.workspaces.azure.network import in_thread

__all__ = ["TokenSender"]

T = TypeVar("T")


class TokenSender:
    """Sends requests with a token, which azure-core's policy keeps, renews and has challenged.

    The policy runs alone: the rest of azure-core's pipeline costs as much time as the request.

    Args:
        workspace: The user's workspace, whose own client's credential gives the tokens.
        send: Sends a request as it is.
    """

    def __init__(self, workspace: Workspace, send: Callable[[Any], Awaitable[Any]]) -> None:
        config = workspace._client._config
        credential: Any = _Credential(config.credential)
        self._policy: Any = AsyncBearerTokenCredentialPolicy(credential, *config.credential_scopes)
        self._policy.next = _Sending(send)

    async def send(self, request: Any) -> Any:
        """Sends a request that has a `url` and `headers`, which get the token."""
        pipeline_request = PipelineRequest(request, PipelineContext(None))
        return (await self._policy.send(pipeline_request)).http_response


class _Sending(AsyncHTTPPolicy[Any, Any]):
    """What comes after azure-core's policy: the request is sent."""

    def __init__(self, send: Callable[[Any], Awaitable[Any]]) -> None:
        super().__init__()
        self._send = send

    async def send(self, request: PipelineRequest[Any]) -> PipelineResponse[Any, Any]:
        answer = await self._send(request.http_request)
        return PipelineResponse(request.http_request, answer, request.context)


class _Credential:
    """A credential of the user's whose calls do not hold up the event loop."""

    def __init__(self, credential: Any) -> None:
        self.get_token = partial(_ask, credential.get_token)
        # azure-core asks for this newer method if it is there.
        if hasattr(credential, "get_token_info"):
            self.get_token_info = partial(_ask, credential.get_token_info)


async def _ask(get_token: Callable[..., T], *scopes: str, **options: Any) -> T:
    try:
        return await in_thread(partial(get_token, *scopes, **options))
    except Exception as error:
        reason = type(error).__name__
    raise ServiceError(
        f"Signing in to Azure failed ({reason}): run `az login`, or set AZURE_TENANT_ID, "
        "AZURE_CLIENT_ID and AZURE_CLIENT_SECRET.",
        status_code=401,
    )
