"""Azure Quantum behind the port; the only package that imports `azure.*`.

workspace     the verbs, as requests
storage       the storage account for inputs and outputs, and its signatures
documents     the service's JSON, to and from values
    http          requests with retries and error translation
    credentials   authentication, with azure-core's policy
    network       connections: name resolution, proxies, threads and a safe shutdown
connect       the SDK's `Workspace` from a resource id, a connection string or the environment
diagnostics   checks of an installation, of this machine and of a workspace
"""

from cirq_azure_sessions.workspaces.azure.connect import connect
from cirq_azure_sessions.workspaces.azure.network import check_listening
from cirq_azure_sessions.workspaces.azure.workspace import AzureWorkspace

__all__ = ["AzureWorkspace", "check_listening", "connect"]
