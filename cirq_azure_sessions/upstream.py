"""Private names of other packages, in one place, and the versions the package was tested with.

The SDK has no public name for the address, the credential and the user agent of a workspace, nor
for the workspace of its backends; duet has none for its interruption error, and qdk none for an
OpenQASM compiler that any thread may call. Any release may rename them. Each function here reads
such a name, and if it is gone raises one sentence that names the package and version that lack it.
Imports are deferred, and nothing of Azure's is imported at all: callers pass their objects.

asyncio's `_asyncio_future_blocking` is not among them: it is documented with `asyncio.isfuture`.
"""

from __future__ import annotations

import copy
import importlib
import re
from collections.abc import Callable
from typing import Any, TypeVar

from cirq_azure_sessions.errors import AzureSessionsError

__all__ = [
    "TESTED_VERSIONS",
    "answering_credential",
    "copy_with_workspace",
    "endpoint_argument",
    "installed_version",
    "interrupt_class",
    "interrupt_reason",
    "is_tested",
    "num_workers",
    "qasm_compiler",
    "separate_user_agent",
    "service_config",
    "session_host",
]

T = TypeVar("T")

# From the first supported release to the last that the test suite was run with. `3.14` as the last
# covers 3.14.5 as well.
TESTED_VERSIONS = {
    "python": ("3.11", "3.13"),
    "cirq-core": ("1.6.1", "1.7"),
    "cirq-ionq": ("1.6.1", "1.7"),
    "azure-quantum": ("3.13", "3.13"),
    "azure-core": ("1.41", "1.41"),
    "azure-identity": ("1.25.3", "1.27"),
    "aiohttp": ("3.12", "3.14"),
    "duet": ("0.2.9", "0.2.9"),
    "qdk": ("1.30", "1.33"),
}

# The attributes to read from the configuration of the SDK's client.
_CONFIG_FIELDS = (
    "endpoint",
    "api_version",
    "credential",
    "credential_scopes",
    "user_agent_policy.user_agent",
)
_ENDPOINT_ARGUMENT = "_quantum_endpoint"


def installed_version(package: str) -> str | None:
    """The version of an installed package; None if it is not installed."""
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def is_tested(package: str, installed: str) -> bool:
    """Whether a version lies in the tested range of its package."""
    first, last = map(_release, TESTED_VERSIONS[package])
    release = _release(installed)
    return first <= release and release[: len(last)] <= last


def service_config(workspace: Any) -> Any:
    """The configuration of the client of an `azure.quantum.Workspace`.

    It has the `endpoint`, the `api_version`, the `credential`, its `credential_scopes` and the
    `user_agent_policy`.

    Raises:
        AzureSessionsError: If this version of azure-quantum keeps it elsewhere.
    """
    config = _read(workspace, "_client._config", "azure-quantum", "Workspace")
    for field in _CONFIG_FIELDS:
        _read(config, field, "azure-quantum", "Workspace._client._config")
    return config


def endpoint_argument(workspace_class: Any) -> str:
    """The name of the argument of `azure.quantum.Workspace` for the service's address.

    The class ignores unknown arguments, and would then connect to Azure itself.

    Raises:
        AzureSessionsError: If this version of azure-quantum has another name for it.
    """
    # The class has a constant for this name.
    if getattr(workspace_class, "_QUANTUM_ENDPOINT_PARAM", None) != _ENDPOINT_ARGUMENT:
        raise _missing("azure-quantum", f"Workspace({_ENDPOINT_ARGUMENT}=...)")
    return _ENDPOINT_ARGUMENT


def session_host(host: Any) -> tuple[Any, str]:
    """The workspace and the target id of a `SessionHost` of azure-quantum.

    Raises:
        AzureSessionsError: If this version of azure-quantum has other names for them.
    """
    where = "azure-quantum", "SessionHost"
    return (
        _read(host, "_get_azure_workspace", *where)(),
        _read(host, "_get_azure_target_id", *where)(),
    )


def copy_with_workspace(owner: T, former: Any, new: Any) -> T:
    """A shallow copy of an object with an `azure.quantum.Workspace`, with another one in its place.

    It may be one level deeper: in the provider of a Qiskit backend, the client of Cirq's target for
    IonQ, or a session that is open on the original.
    """
    copied = copy.copy(owner)
    for name, value in list(vars(copied).items()):
        if value is former:
            vars(copied)[name] = new
        elif any(each is former for each in getattr(value, "__dict__", {}).values()):
            vars(copied)[name] = copy_with_workspace(value, former, new)
        elif name == "_options":
            # Qiskit changes its options in place.
            vars(copied)[name] = copy.copy(value)
        elif name == "_backends":
            # A provider makes its backends, which refer to it, on first use.
            vars(copied)[name] = None
    return copied


def separate_user_agent(workspace: Any) -> None:
    """Keeps a copy of an `azure.quantum.Workspace` from changing the original's user agent.

    The two share a client until the copy's user agent changes, which then makes a new client.

    Raises:
        AzureSessionsError: If this version of azure-quantum keeps it elsewhere.
    """
    where = "azure-quantum", "Workspace"
    parameters = copy.copy(_read(workspace, "_connection_params", *where))
    parameters.on_new_client_request = _read(workspace, "_on_new_client_request", *where)
    workspace._connection_params = parameters


def num_workers(executor: Any) -> int | None:
    """The number of an executor's workers; None if unknown.

    The interface of executors has no name for it. Those of the standard library and of joblib have
    the first attribute, that of MPI has the second, and Dask's has a client that asks the cluster.
    """
    for name in ("_max_workers", "num_workers"):
        if isinstance(found := getattr(executor, name, None), int):
            return found
    nthreads = getattr(getattr(executor, "_client", None), "nthreads", None)
    return None if nthreads is None else sum(nthreads().values())


def answering_credential(chain: Any) -> str:
    """The credential of an `azure.identity` chain that returned the last token.

    Raises:
        AzureSessionsError: If this version of azure-identity does not record it, or none returned
            one.
    """
    name = "_successful_credential"
    return type(_read(chain, name, "azure-identity", "ChainedTokenCredential")).__name__


def interrupt_reason(error: BaseException) -> BaseException:
    """The cause of an interrupted duet task, which duet wraps in its own exception.

    Any other error is its own reason. So is any error if duet's cannot be identified: this is
    called while handling an interruption, which no other error may replace.
    """
    try:
        is_of_duet = isinstance(error, interrupt_class())
    except (AzureSessionsError, ImportError):
        # Imports fail while Python shuts down.
        return error
    reason: BaseException = getattr(error, "error", error) if is_of_duet else error
    return reason


def interrupt_class() -> type[BaseException]:
    """The class of the exceptions by which duet interrupts a task.

    Raises:
        AzureSessionsError: If this version of duet keeps it elsewhere.
    """
    try:
        duet = importlib.import_module("duet.impl")
    except ImportError:
        raise _missing("duet", "duet.impl.Interrupt") from None
    found: type[BaseException] = _read(duet, "Interrupt", "duet", "duet.impl")
    return found


def qasm_compiler() -> Callable[..., str]:
    """qdk's compiler from OpenQASM to QIR, which any thread may call.

    The public `qdk.openqasm.compile` makes a Q# interpreter for the whole process on the thread
    that first calls it, and no other thread may use or free it.

    Raises:
        ImportError: If qdk is not installed.
        AzureSessionsError: If this version of qdk keeps the compiler elsewhere.
    """
    importlib.import_module("qdk")
    name = "compile_qasm_program_to_qir"
    try:
        native = importlib.import_module("qdk._native")
    except ImportError:
        raise _missing("qdk", f"qdk._native.{name}") from None
    found: Callable[..., str] = _read(native, name, "qdk", "qdk._native")
    return found


def _read(owner: Any, path: str, package: str, shown: str) -> Any:
    """A nested attribute of another package's object."""
    for name in path.split("."):
        try:
            owner = getattr(owner, name)
        except AttributeError:
            break
    else:
        return owner
    raise _missing(package, f"{shown}.{path}")


def _missing(package: str, name: str) -> AzureSessionsError:
    return AzureSessionsError(
        f"{package} {installed_version(package)} has no {name}, which cirq-azure-sessions reads: "
        f"install {package} {TESTED_VERSIONS[package][1]}, or a newer cirq-azure-sessions."
    )


def _release(text: str) -> tuple[int, ...]:
    """The numbers of a version, without a pre-release marker."""
    numbers = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(map(int, numbers[0].split("."))) if numbers else ()
