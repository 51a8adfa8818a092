"""A service that answers oddly: every field of its answers dropped, renamed and of another kind.

By default an eighth of the oddities is read, of one recorded answer of each shape, and a sample of
the whole calls is made. With `ODD_ANSWERS=all` in the environment all are, which takes minutes.
"""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Iterator
from typing import Any

import cirq
import pytest
from azure_suite import JOB, SESSION, sdk_workspace_at
from circuits import TWO_SWITCHES
from odd_answers import ODD, OddService, Path, odd_json, oddities
from services import HANG_TIMEOUT, in_background
from shared import SHARED

from cirq_azure_sessions import (
    AzureSessionSampler,
    AzureSessionsError,
    AzureWorkspace,
    JobError,
    ManualClock,
    SessionPool,
    SweepError,
)
from cirq_azure_sessions.cli.tables import as_values
from cirq_azure_sessions.model import Job
from cirq_azure_sessions.workspaces.azure.documents import (
    UNREADABLE,
    parse,
    read_job,
    read_page,
    read_quota,
    read_session,
    read_targets,
)

IS_LONG = os.environ.get("ODD_ANSWERS") == "all"
CALLS = 25

TARGET = "ionq.simulator"
POINTS = cirq.Points("a", [0, 0, 1, 1]) + cirq.Points("b", [0, 1, 0, 1])
OUTCOMES = [[0, 0], [0, 1], [1, 0], [1, 1]]
RECORDINGS = SHARED / "recordings"
WORKSPACE = sdk_workspace_at("http://127.0.0.1:1")

# What nothing can be done without.
NEEDED = {
    *("id", "status", "value", "sasUri", "targets"),
    *("dimension", "scope", "providerId", "utilization", "holds", "limit"),
}


def read(document: Any) -> Any:
    """Reads a document as the answer that it is, and looks at everything that was read."""
    if "sasUri" in document:
        return document["sasUri"]
    if "value" in document:
        items, _ = read_page(read, document)
        return items
    if "targets" in document:
        return read_targets(document)
    if "dimension" in document:
        return read_quota(document)
    is_job = "inputDataFormat" in document or "outputDataUri" in document
    item: Any = (read_job if is_job else read_session)(WORKSPACE, document)
    assert repr(item) == repr(item)
    assert item.cost is None or all(map(math.isfinite, item.cost.consumed.values()))
    if isinstance(item, Job):
        assert all(isinstance(value, str) for value in item.metadata.values())
    return item


def shape(document: Any) -> Any:
    """What two answers of the same kind have in common."""
    if isinstance(document, dict):
        return {name: shape(value) for name, value in document.items()}
    return (
        [shape(each) for each in document[:1]]
        if isinstance(document, list)
        else str(type(document))
    )


def check_decoders(answers: Iterator[Any]) -> int:
    """Reads each answer with each of its fields odd in each way; returns how many were read."""
    seen, count = set(), 0
    for document in answers:
        if (kind := json.dumps(shape(document))) in seen and not IS_LONG:
            continue
        seen.add(kind)
        cases = list(oddities(document))
        for path, how in cases if IS_LONG else random.Random(count).sample(cases, len(cases) // 8):
            count += 1
            try:
                read(parse(odd_json(document, path, how)))
            except UNREADABLE:
                assert len(path) == 1, f"{path} {how} hides other documents"
                assert path[0] in NEEDED, f"{path} {how}"
    return count


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recordings are not in this checkout")
def test_malformed_field_of_a_recorded_response_affects_only_itself() -> None:
    def recorded() -> Iterator[Any]:
        for path in sorted(RECORDINGS.glob("*.json")):
            for exchange in json.loads(path.read_text(encoding="utf-8"))["exchanges"]:
                answer = exchange["response"]
                # Results lie in storage and are no documents of the service.
                if isinstance(answer, dict) and answer.keys() & {"itemType", "value", "sasUri"}:
                    yield answer

    assert check_decoders(recorded()) > 1_000


@pytest.fixture
def service() -> Iterator[OddService]:
    with OddService() as service:
        yield service


@pytest.fixture
def answers(service: OddService) -> dict[str, Any]:
    """The last answer of every route to a sweep in a named pool, and to lists of what there is."""
    last: dict[str, Any] = {}

    def keep(route: str, document: Any) -> None:
        if isinstance(document, dict) and document.get("value") != []:
            last[route] = document

    service.spoil = keep
    for _ in range(2):
        sweep(service, "first")
    with SessionPool(service.workspace()) as pool:
        pool.get_session(pool.list_sessions()[0].id).jobs()
        pool.get_job(pool.list_jobs()[0].id)
    service.spoil = lambda route, document: None
    return last


def test_malformed_field_of_an_emulated_response_affects_only_itself(
    answers: dict[str, Any],
) -> None:
    assert check_decoders(iter(answers.values())) > 200


def sweep(service: OddService, name: str) -> list[list[int]]:
    """The outcomes of a sweep in a pool of a name, on a clock of its own."""
    clock = ManualClock()
    workspace = AzureWorkspace(service.workspace(), clock=clock)
    with SessionPool(workspace, name=name, clock=clock) as pool:
        sampler = AzureSessionSampler(TARGET, pool=pool, job_name=name)
        results = sampler.run_sweep(TWO_SWITCHES, POINTS, 5)
    return [[int(bit) for bit in result.measurements["m"][0]] for result in results]


def test_call_with_one_malformed_response_is_correct_or_fails_and_loses_nothing(
    service: OddService, answers: dict[str, Any]
) -> None:
    cases = [(route, *each) for route, answer in answers.items() for each in oddities(answer)]
    if not IS_LONG:
        cases = random.Random(15).sample(cases, CALLS)
    for number, (route, path, how) in enumerate(cases):

        def spoil(
            each: str, document: Any, case: tuple[str, Path, str] = (route, path, how)
        ) -> Any:
            try:
                return odd_json(document, *case[1:]) if each == case[0] else None
            except (AttributeError, LookupError, TypeError):
                # This answer has no such field.
                return None

        name = f"case-{number}-"
        service.spoil = spoil
        calling = in_background(sweep, service, name)
        error = calling.exception(HANG_TIMEOUT)
        service.spoil = lambda route, document: None
        if error is None:
            assert calling.result() == OUTCOMES
        else:
            assert isinstance(error, AzureSessionsError)
            assert path[-1] in {*NEEDED, "outputDataUri"}, f"{route} {path} {how}: {error}"
        with SessionPool(service.workspace()) as pool:
            jobs = pool.list_jobs(name=name)
            # Each point was paid for once at most, and what was paid for is there.
            assert len({job.name for job in jobs}) == len(jobs) <= len(OUTCOMES)
            for job in jobs:
                assert job.result(HANG_TIMEOUT).repetitions == 5
            assert not any(session.is_open for session in pool.list_sessions(name=name))


@pytest.mark.parametrize("odd", ["", "elsewhere", 7, None])
def test_a_job_is_followed_in_the_session_that_it_was_sent_to(
    service: OddService, odd: Any
) -> None:
    def spoil(route: str, document: Any) -> bytes | None:
        return json.dumps({**document, "sessionId": odd}).encode() if route == "submit" else None

    service.spoil = spoil
    try:
        assert sweep(service, "mine") == OUTCOMES
    finally:
        service.spoil = lambda route, document: None


@pytest.mark.parametrize("how", ODD)
def test_malformed_foreign_document_hides_no_other(service: OddService, how: str) -> None:
    odd = ODD[how].encode()
    strange = dict.fromkeys(("name", "target", "creationTime", "costEstimate", "tags"), "x")

    def spoil(route: str, document: Any) -> bytes | None:
        if route not in ("sessions", "jobs", "sessionJobs"):
            return None
        known = SESSION if route == "sessions" else JOB
        document["value"].insert(0, {**known, **strange, "status": "Succeeded"})
        return json.dumps(document).encode().replace(b'"x"', odd)

    sweep(service, "mine")
    service.spoil = spoil
    try:
        with SessionPool(service.workspace()) as pool:
            sessions = pool.list_sessions()
            [mine] = [session for session in sessions if session.name == "mine"]
            for listed, count in ((sessions, 1), (pool.list_jobs(), 4), (mine.jobs(), 4)):
                assert len(listed) == 1 + count
                for item in listed:
                    assert item._repr_html_()
                    assert as_values(item)
        assert sweep(service, "mine") == OUTCOMES
    finally:
        service.spoil = lambda route, document: None


@pytest.mark.parametrize("answer", [b"[]", b'{"id": "s"}', None])
def test_a_session_that_cannot_be_read_keeps_no_named_pool_from_opening_its_own(
    service: OddService, answer: bytes | None
) -> None:
    listed = {**SESSION, "name": "ours", "target": TARGET}

    def spoil(route: str, document: Any) -> bytes | None:
        if route == "sessions":
            return json.dumps({"value": [listed], "nextLink": None}).encode()
        return answer if route == "session" else None

    service.spoil = spoil
    try:
        assert sweep(service, "ours") == OUTCOMES
    finally:
        service.spoil = lambda route, document: None


@pytest.mark.parametrize("status", ["Perhaps", "SucceededWithWarnings"])
def test_a_job_that_has_ended_with_an_unknown_status_is_not_waited_for(
    service: OddService, status: str
) -> None:
    def spoil(route: str, document: Any) -> bytes | None:
        jobs = document.get("value", [document])
        if route not in ("job", "sessionJobs"):
            return None
        for job in jobs:
            job["status"] = status if job["status"] == "Succeeded" else job["status"]
        return json.dumps(document).encode()

    service.spoil = spoil
    try:
        # What was paid for is there, whatever the word for it is.
        assert in_background(sweep, service, "new").result(HANG_TIMEOUT) == OUTCOMES
    finally:
        service.spoil = lambda route, document: None


def test_a_job_that_cannot_be_read_fails_alone(service: OddService) -> None:
    def spoil(route: str, document: Any) -> bytes | None:
        if route not in ("job", "sessionJobs"):
            return None
        for job in document.get("value", [document]):
            if job["name"] == "one-bad-2":
                job["status"] = None
        return json.dumps(document).encode()

    service.spoil = spoil
    try:
        with pytest.raises(SweepError) as failure:
            in_background(sweep, service, "one-bad").result(HANG_TIMEOUT)
    finally:
        service.spoil = lambda route, document: None
    assert list(failure.value.failures) == [2]
    assert type(failure.value.failures[2]) is JobError
    assert sum(result is not None for result in failure.value.results) == 3
