"""Conversion of circuits to payloads and of result bytes to `cirq.Result`; one file per format.

A new provider needs one file and one row of `_FORMATS`.
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cirq_azure_sessions.errors import UnsupportedTarget
from cirq_azure_sessions.options import shown
from cirq_azure_sessions.spelling import did_you_mean

if TYPE_CHECKING:
    from cirq_azure_sessions.formats.translation import Format
    from cirq_azure_sessions.model import Job
    from cirq_azure_sessions.results.azure_result import AzureResult

__all__ = ["format_for", "results_of"]

# The targets of each format, and its class. The first row that matches counts. Classes are imported
# when first needed, since each imports its provider's packages. Providers without a row take QIR,
# as do the targets of Azure's test provider and Microsoft's machine simulators.
_FORMATS: tuple[tuple[str, str], ...] = (
    (r"local\.like:[\w.-]+", "like:LikeFormat"),
    (r"local\..+", "local:LocalFormat"),
    (r"ionq\.(simulator|qpu(\.[\w-]+)?)", "ionq:IonQFormat"),
    (r"quantinuum\.(sim|qpu)\.[\w-]+", "quantinuum:QuantinuumFormat"),
    (r"rigetti\.(sim|qpu)\.[\w-]+", "qir:QirFormat"),
    (r"microsoft\.sim\.[\w.-]*[\w-]", "qir:QirFormat"),
    (r"(?!(ionq|quantinuum|rigetti|microsoft|pasqal)\.)[a-z][\w-]*(\.[\w-]+)+", "qir:QirFormat"),
    (r"(echo|sparse-sim)-(?!output)[\w-]+", "qir:QirFormat"),
)

# Targets that workspaces list but that run no circuits, and their purpose.
_WITHOUT_CIRCUITS = (
    (
        r"pasqal\b.*",
        "accepts pulse sequences (pasqal.pulser.v1), not circuits: write them with Pulser and "
        "submit them with azure.quantum.target.Pasqal",
    ),
    (
        r"microsoft\.estimator",
        "estimates the resources of programs and runs no circuits: estimate with qdk's own "
        "resource estimator, and sample on another target",
    ),
    (r"microsoft\.hpc", "runs chemistry, not circuits: sample on another target"),
    (r"echo-output", "returns what it is sent and runs no circuits: sample on another target"),
)

# Names to suggest for a misspelled one. Only the service knows the targets of a workspace.
_KNOWN_TARGETS = (
    "local.simulator",
    "local.density-matrix",
    "local.clifford",
    "ionq.simulator",
    "ionq.qpu.aria-1",
    "ionq.qpu.forte-1",
    "ionq.qpu.forte-enterprise-1",
    "quantinuum.sim.h2-1sc",
    "quantinuum.sim.h2-1e",
    "quantinuum.qpu.h2-1",
    "quantinuum.sim.h2-2sc",
    "quantinuum.sim.h2-2e",
    "quantinuum.qpu.h2-2",
    "rigetti.sim.qvm",
    "rigetti.qpu.ankaa-3",
    "rigetti.qpu.cepheus-1-36q",
)


def format_for(target: str) -> Format:
    """The format of the target's programs and results.

    Args:
        target: A target's id: `local.simulator`, `ionq.simulator`, `quantinuum.sim.h2-1e`, ...

    Raises:
        UnsupportedTarget: If the target does not take circuits.
    """
    for pattern, name in _FORMATS:
        if isinstance(target, str) and target.isprintable() and re.fullmatch(pattern, target):
            return _instance(name)
    written = target if isinstance(target, str) else ""
    for pattern, advice in _WITHOUT_CIRCUITS:
        if re.fullmatch(pattern, written.strip(), re.IGNORECASE):
            raise UnsupportedTarget(f"{shown(target)} {advice}.")
    raise UnsupportedTarget(
        f"{shown(target)} does not accept circuits: check its spelling, list your workspace's "
        "targets with `cirq-azure-sessions targets`, or use 'local.simulator'."
        f"{did_you_mean(written, _KNOWN_TARGETS)}"
    )


def results_of(job: Job, output: Any) -> Sequence[AzureResult]:
    """The results of a job's points, from its metadata and its output alone.

    Args:
        job: The job, submitted by this package in this run or another.
        output: Its output.

    Raises:
        UnsupportedTarget: If the job's target does not take circuits.
        ResultFormatError: If this package did not submit the job, or the output is invalid.
    """
    format_ = format_for(job.target)
    results = format_.decode(output, format_.read_layout(job.metadata))
    for result in results:
        result._set_job(job)
    return results


@functools.cache
def _instance(name: str) -> Format:
    module, _, kind = name.partition(":")
    found = importlib.import_module(f"{__name__}.{module}")
    format_: Format = getattr(found, kind)()
    return format_
