"""Azure Quantum behind the port; the only package that imports `azure.*`.

workspace     the verbs, as requests
storage       the storage account for inputs and outputs, and its signatures
documents     the service's JSON, to and from values
http          one request: sent, its errors translated, sent again where that is worth it
credentials   signing in, with azure-core's policy
network       what a connection needs: names, proxies, threads, and an end without harm
connect       the SDK's `Workspace` from a resource id, a connection string or the environment
diagnostics   checks of an installation, of this machine and of a workspace
"""

from cirq_azure_sessions.workspaces.azure.connect import connect
from cirq_azure_sessions.workspaces.azure.workspace import AzureWorkspace

__all__ = ["AzureWorkspace", "connect"]
