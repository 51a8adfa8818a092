"""Azure Quantum behind the port: the only room that imports `azure.*`.

workspace     the verbs, as requests
storage       the storage account for inputs and outputs, and its signatures
documents     the service's JSON, to and from values
http          requests with retries; transport errors become `ServiceError`
connections   the pool of connections: aiohttp under azure-core's pipelines
connect       the SDK's `Workspace` from a resource id, a connection string or the environment
"""

from cirq_azure_sessions.workspaces.azure.connect import connect
from cirq_azure_sessions.workspaces.azure.workspace import AzureWorkspace

__all__ = ["AzureWorkspace", "connect"]
