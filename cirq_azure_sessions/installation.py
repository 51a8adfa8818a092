"""Checks of an installation, without importing the checked packages.

A failed check gives advice, and the others still run. The text may go into a public report, so it
shows only the names of environment variables.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote_plus, unquote

from cirq_azure_sessions import upstream
from cirq_azure_sessions.errors import AzureSessionsError, UnsupportedTarget

__all__ = [
    "BUILT_IN_TARGETS",
    "Finding",
    "check_environment",
    "check_installed",
    "check_versions",
    "known_secrets",
    "unexpected",
]

# The targets on Cirq's own simulators and on those of extras: the package to install, the module in
# it, and the sampler's class in that.
BUILT_IN_TARGETS = {
    "local.simulator": ("cirq-core", "cirq", "Simulator"),
    "local.density-matrix": ("cirq-core", "cirq", "DensityMatrixSimulator"),
    "local.clifford": ("cirq-core", "cirq", "CliffordSimulator"),
    "local.qsim": ("qsimcirq", "qsimcirq", "QSimSimulator"),
    "local.stim": ("stimcirq", "stimcirq", "StimSampler"),
}

# Packages that only QIR targets and the emulator need.
_OPTIONAL = {"qdk": "needed for QIR targets and for QIR programs in the emulator"}

_VARIABLES = re.compile(
    r"(AZURE|CIRQ_AZURE_SESSIONS|IDENTITY|IMDS|MSI)_\w+"
    r"|(HTTPS?|ALL|NO)_PROXY|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|SSL_CERT_(FILE|DIR)",
    re.IGNORECASE,
)
_SECRET_VARIABLES = re.compile(r"SECRET|PASSWORD|KEY|TOKEN|CONNECTION_STRING", re.IGNORECASE)
_SECRET_FIELDS = re.compile(r"(?:Key|Signature)=([^;]+)", re.IGNORECASE)
# Shorter values are not secrets, and may be part of other words.
_MIN_SECRET_LENGTH = 6


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check.

    Attributes:
        check: What was checked.
        text: One sentence, which says what to do if something is wrong.
        status: `warning` if nothing is known to be wrong, `skipped` if nothing was checked.
    """

    check: str
    text: str
    status: Literal["ok", "warning", "failed", "skipped"] = "ok"


def check_installed(target: str) -> None:
    """Raises `UnsupportedTarget` if a built-in target's package is not installed."""
    package, module, _ = BUILT_IN_TARGETS[target]
    if importlib.util.find_spec(module) is None:
        raise UnsupportedTarget(
            f"{target!r} needs {package}: run pip install '.[simulators]' in your checkout."
        )


def unexpected(check: str, error: Exception) -> Finding:
    """The finding for an error in a check, of this package or any other."""
    if isinstance(error, AzureSessionsError):
        # Support asks for this id.
        request_id = getattr(error, "request_id", "")
        request = f" (Request {request_id}.)" if request_id else ""
        return Finding(check, f"{error}{request}", "failed")
    # Messages of other packages may quote anything.
    return Finding(check, f"The check raised {type(error).__name__}: please report this.", "failed")


def check_versions() -> Iterator[Finding]:
    """The versions of Python, of this package and of its dependencies."""
    found = upstream.installed_version("cirq-azure-sessions")
    yield Finding("cirq-azure-sessions", found or "not installed, imported from its source")
    for package, (first, last) in upstream.TESTED_VERSIONS.items():
        if package == "python":
            found, where = platform.python_version(), f" on {platform.platform()}"
        else:
            found, where = upstream.installed_version(package), ""
        if found is None:
            reason = _OPTIONAL.get(package)
            text = f"not installed; {reason}" if reason else f"not installed: pip install {package}"
            yield Finding(package, text, "skipped" if reason else "failed")
        elif upstream.is_tested(package, found):
            yield Finding(package, f"{found}{where}")
        else:
            tested = first if first == last else f"{first} to {last}"
            text = f"{found}{where}: not tested; if anything fails, try {package} {tested}"
            yield Finding(package, text, "warning")


def check_environment() -> Finding:
    """The names of the relevant environment variables that are set."""
    names = sorted(name for name in os.environ if _VARIABLES.fullmatch(name))
    return Finding("environment", ", ".join(names) or "no relevant variable is set")


def known_secrets(
    given: Iterable[str | None] = (), *, addresses: Iterable[str | None] = ()
) -> list[str]:
    """The secrets to redact from findings: those of the environment, and given ones.

    Args:
        given: Keys and connection strings.
        addresses: Addresses; a login in one is a secret.
    """
    values = {value for name, value in os.environ.items() if _SECRET_VARIABLES.search(name)}
    values |= {value for value in given if value}
    values |= {field for value in values for field in _SECRET_FIELDS.findall(value)}
    proxies = [value for name, value in os.environ.items() if name.lower().endswith("_proxy")]
    for address in [*proxies, *addresses]:
        if address and "@" in address:
            # `user:password`, even in an invalid address.
            login = address.rpartition("@")[0].rpartition("/")[2]
            values |= {login, login.partition(":")[2]}
    values |= {spelled(value) for value in values for spelled in (unquote, quote_plus)}
    # Longest first, because one may be part of another.
    return sorted((v for v in values if len(v) >= _MIN_SECRET_LENGTH), key=len, reverse=True)
