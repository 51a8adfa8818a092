"""Samplers and pools cost no thread and no descriptor of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from cirq_azure_sessions.emulator import EmulatorServer

pytestmark = pytest.mark.skipif(
    not os.path.isdir("/proc/self/fd"), reason="this system does not list open files"
)

_MAX_DESCRIPTORS = 256

_COUNT = """
import json, os, resource, sys, threading
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), hard))
import cirq
from cirq_azure_sessions import AzureSessionSampler, SessionPool

circuit = cirq.Circuit(cirq.X(cirq.LineQubit(0)), cirq.measure(cirq.LineQubit(0), key="m"))
counts = []

def count():
    names = [thread.name for thread in threading.enumerate()]
    threads = [name for name in names if not name.startswith("local-")]
    counts.append((len(os.listdir("/proc/self/fd")), len(threads)))

def run_locally(keep):
    sampler = AzureSessionSampler(
        ("local.simulator", "local.density-matrix", "local.clifford")[len(keep) % 3]
    )
    sampler.run(circuit)
    keep.append(sampler)

def run_remotely(keep):
    from azure.core.credentials import AzureKeyCredential
    from azure.quantum import Workspace
    if not keep:
        keep.append(Workspace(resource_id=sys.argv[4], location="eastus",
            credential=AzureKeyCredential(sys.argv[5]), _quantum_endpoint=sys.argv[3]))
    with SessionPool(keep[0]) as pool:
        AzureSessionSampler("ionq.simulator", pool=pool).run(circuit)
    keep.append(pool)

kept = []
number = int(sys.argv[2])
use = run_remotely if len(sys.argv) > 3 else run_locally
for index in range(number):
    use(kept)
    if index in (9, number - 1):
        count()
print(json.dumps(counts))
"""


def _counts(number: int, *connect: str) -> list[list[int]]:
    """Descriptors and threads after ten uses and after all, in a process with few descriptors."""
    child = subprocess.run(
        [sys.executable, "-c", _COUNT, str(_MAX_DESCRIPTORS), str(number), *connect],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    counts: list[list[int]] = json.loads(child.stdout)
    return counts


def test_unclosed_samplers_on_local_targets_hold_nothing() -> None:
    first, last = _counts(400)
    assert last == first


def test_pools_that_were_closed_hold_nothing() -> None:
    with EmulatorServer() as server:
        first, last = _counts(100, server.endpoint, server.resource_id, server.key)
    # The server's side of a connection may be closed a moment later than ours.
    assert last[0] <= first[0] + 2
    assert last[1] <= first[1]
