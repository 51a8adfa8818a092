"""Azure Quantum behind the port: the only room that imports `azure.*`.

workspace     the verbs
storage       where inputs and outputs lie, and the signatures that open them
documents     the service's JSON, to and from values
channel       one request: repeated where it is safe, every error translated
connections   aiohttp under azure-core's pipelines
connect       the SDK's `Workspace` from a resource id, a connection string or the environment
"""

from cirq_azure_sessions.workspaces.azure.connect import connect
from cirq_azure_sessions.workspaces.azure.workspace import AzureWorkspace

__all__ = ["AzureWorkspace", "connect"]
