"""The SDK's `Workspace` from a resource id, a connection string or the environment."""

from __future__ import annotations

import os

from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError
from azure.identity import DefaultAzureCredential
from azure.quantum import Workspace

from cirq_azure_sessions.errors import AzureSessionsError, ServiceError
from cirq_azure_sessions.upstream import endpoint_argument
from cirq_azure_sessions.workspaces.azure.documents import without_secrets

__all__ = ["connect"]

# The SDK's own environment variables.
_CONNECTION_STRING = "AZURE_QUANTUM_CONNECTION_STRING"
_WORKSPACE_NAME = "AZURE_QUANTUM_WORKSPACE_NAME"

# An emulator serves a workspace of any name. A journal recognizes it by this one.
_EMULATED = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/myresourcegroup"
    "/providers/Microsoft.Quantum/Workspaces/myworkspace"
)
_ANY_LOCATION = "eastus"


def connect(
    resource_id: str | None = None,
    *,
    location: str | None = None,
    connection_string: str | None = None,
    endpoint: str | None = None,
    key: str | None = None,
) -> Workspace:
    """Connects to the workspace named by the arguments or, without them, by the environment.

    A connection string, or an endpoint with its key, is used as given. Otherwise Azure is asked for
    the workspace's endpoint, with the credential that `DefaultAzureCredential` finds; no browser is
    opened. A resource id takes precedence over the environment: a connection string there is used
    only if it is for the same workspace.

    Args:
        resource_id: As the portal shows it: `/subscriptions/.../Workspaces/...`.
        location: The workspace's region, such as `eastus`.
        connection_string: As the portal shows it under the workspace's access keys.
        endpoint: The address of an emulator.
        key: The emulator's key.

    Raises:
        AzureSessionsError: If no workspace is named, or two are, or an argument is empty, or the
            connection string is malformed.
        ServiceError: If signing in fails, or Azure does not know the workspace.
    """
    words = {
        "resource id": resource_id,
        "location": location,
        "connection string": connection_string,
        "emulator's address": endpoint,
    }
    for name, value in words.items():
        # From an unset variable: the environment may name another workspace, which costs money.
        if value is not None and not value.strip():
            raise AzureSessionsError(f"The {name} is empty: set it, or leave it out.")
    if endpoint is not None:
        if not key:
            raise AzureSessionsError("An emulator needs a key: give the one it printed.")
        return _translated(
            resource_id=resource_id or _EMULATED,
            location=location or _ANY_LOCATION,
            credential=AzureKeyCredential(key),
            **{endpoint_argument(Workspace): endpoint},
        )
    given = connection_string or os.environ.get(_CONNECTION_STRING)
    if given and (resource_id is None or _names(given, resource_id)):
        return _from_connection_string(given)
    if connection_string:
        raise AzureSessionsError(
            "The resource id and the connection string name different workspaces: give one of them."
        )
    if resource_id is None and not os.environ.get(_WORKSPACE_NAME):
        raise AzureSessionsError(
            "No workspace is named: give its resource id or connection string, "
            f"or set {_CONNECTION_STRING} or {_WORKSPACE_NAME}."
        )
    if given:
        # Without a location the SDK would use the location and endpoint of the environment's
        # workspace. Azure's response replaces both.
        location = location or _ANY_LOCATION
    return _translated(
        resource_id=resource_id, location=location, credential=DefaultAzureCredential()
    )


def _names(connection_string: str, resource_id: str) -> bool:
    """Whether a connection string belongs to the workspace with this resource id."""
    fields = dict(field.partition("=")[::2] for field in connection_string.split(";"))
    words = ("SubscriptionId", "ResourceGroupName", "WorkspaceName")
    # /subscriptions/ID/resourceGroups/NAME/providers/Microsoft.Quantum/Workspaces/NAME
    steps = resource_id.strip("/").lower().split("/")
    return [fields.get(word, "").lower() for word in words] == steps[1::2][:2] + steps[-1:]


def _from_connection_string(connection_string: str) -> Workspace:
    try:
        return Workspace.from_connection_string(connection_string)
    except ValueError:
        pass
    # Not the SDK's message, which may quote the string and so its key.
    raise AzureSessionsError(
        "The connection string does not have the form SubscriptionId=...;ResourceGroupName=...;"
        "WorkspaceName=...;ApiKey=...;QuantumEndpoint=https://...; : copy it from the portal."
    )


def _translated(**arguments: object) -> Workspace:
    """A `Workspace`; errors become those of this package."""
    try:
        return Workspace(**arguments)
    except (AzureError, RuntimeError, ValueError) as error:
        failure = _failure(error)
    raise failure


def _failure(error: Exception) -> AzureSessionsError:
    if isinstance(error, ClientAuthenticationError) or isinstance(
        error.__cause__, ClientAuthenticationError
    ):
        return ServiceError(
            "Signing in to Azure failed: run `az login`, or set AZURE_TENANT_ID, AZURE_CLIENT_ID "
            "and AZURE_CLIENT_SECRET, or use a connection string.",
            status_code=401,
        )
    words = without_secrets(" ".join(str(error).split()))
    message = f"The workspace was not found; check its resource id and location. ({words})"
    if isinstance(error, ValueError):
        return AzureSessionsError(message)
    return ServiceError(message, status_code=getattr(error, "status_code", None))
