"""A workspace for the commands that look at one, and the process as it was before a command."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from command_line import Scene
from services import FLIP

from cirq_azure_sessions import AzureSessionSampler, JobFailed, SessionPool
from cirq_azure_sessions.emulator import EmulatorServer


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with EmulatorServer() as server:
        with SessionPool(server.workspace(), name="yesterday") as pool:
            sampler = AzureSessionSampler("ionq.simulator", pool=pool)
            sampler.run(FLIP)
            done = sampler.run(FLIP, repetitions=10)
        with SessionPool(server.workspace(), name="today") as pool:
            server.faults.fail_job(code="InvalidInputData", message="The program is odd.")
            sampler = AzureSessionSampler("quantinuum.sim.h2-1e", pool=pool, tags=["a", "b"])
            with pytest.raises(JobFailed) as caught:
                sampler.run(FLIP)
            failed = caught.value.job_id
            session = pool.session("quantinuum.sim.h2-1e").id
            yield Scene(server, done.session_id, session, done.job_id, failed)
