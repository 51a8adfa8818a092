"""The service's JSON, to and from values: against the SDK's own models and recorded traffic."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from azure.core.credentials import AzureKeyCredential
from azure.quantum import JobDetails, SessionDetails, Workspace
from azure.quantum._client._utils.model_base import SdkJSONEncoder
from azure_suite import JOB, RESOURCE_ID, SESSION, job_request, session_request
from hypothesis import given
from hypothesis import strategies as st
from shared import SHARED

from cirq_azure_sessions.model import Cost, Job, JobFailurePolicy, JobStatus, Quota, SessionStatus
from cirq_azure_sessions.workspaces.azure.documents import (
    job_document,
    max_output_bytes,
    parse,
    read_job,
    read_page,
    read_quota,
    read_session,
    read_targets,
    read_time,
    session_document,
)

RECORDINGS = SHARED / "recordings"

needs_recordings = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason="the recordings of real traffic are not in this checkout"
)


@pytest.fixture(scope="module")
def workspace() -> Workspace:
    return Workspace(
        resource_id=RESOURCE_ID,
        location="eastus",
        credential=AzureKeyCredential("a-key"),
        _quantum_endpoint="http://127.0.0.1:1",
    )


def test_item_that_cannot_be_read_is_left_out_of_a_page_of_some_size_only() -> None:
    page = b'{"value": [%b, 7]%b}'
    deep = b"[" * 100_000 + b"]" * 100_000
    assert parse(page % (deep, b""))["value"][1] == 7
    with pytest.raises(RecursionError):
        parse(page % (deep, b" " * 2**22))


def recorded(item_type: str) -> Iterator[Mapping[str, Any]]:
    """Every recorded document of this type, in answers alone and in lists."""
    for path in sorted(RECORDINGS.glob("*.json")):
        for exchange in json.loads(path.read_text(encoding="utf-8"))["exchanges"]:
            answer = exchange["response"]
            if isinstance(answer, dict):
                for document in [answer, *answer.get("value", [])]:
                    if document.get("itemType") == item_type:
                        yield document


def seconds(time: datetime | None) -> float | None:
    return None if time is None else time.timestamp()


@needs_recordings
def test_recorded_jobs_are_read_as_the_sdk_reads_them(workspace: Workspace) -> None:
    documents = list(recorded("Job"))
    assert len(documents) > 50
    for document in documents:
        job, details = read_job(workspace, document), JobDetails(document)
        assert (job.id, job.name, job.target) == (details.id, details.name, details.target)
        assert job.status.value == details.status
        assert job.session_id == details.session_id
        assert job.creation_time == seconds(details.creation_time)
        assert job.begin_time == seconds(details.begin_execution_time)
        assert job.end_time == seconds(details.end_execution_time)
        assert job.input_params == (details.input_params or {})
        assert job.metadata == (details.metadata or {})
        assert job.handle.details.as_dict() == details.as_dict()
        assert "?" not in (job.output_uri or "")
        if details.error_data is not None:
            assert job.error_code == details.error_data.code
        if details.cost_estimate is not None:
            assert job.cost is not None
            assert job.cost.total == details.cost_estimate.estimated_total


@needs_recordings
def test_recorded_sessions_are_read_as_the_sdk_reads_them(workspace: Workspace) -> None:
    documents = list(recorded("Session"))
    assert len(documents) > 20
    for document in documents:
        session, details = read_session(workspace, document), SessionDetails(document)
        assert (session.id, session.name) == (details.id, details.name)
        assert session.target == details.target
        assert session.status.value == details.status
        assert session.job_failure_policy.value == details.job_failure_policy
        assert session.creation_time == seconds(details.creation_time)
        assert session.end_time == seconds(details.end_execution_time)
        assert session.handle.is_in_terminal_state() is not session.is_open


@needs_recordings
def test_recorded_targets_and_quotas_are_read() -> None:
    def response(name: str) -> Any:
        exchanges = json.loads((RECORDINGS / name).read_text(encoding="utf-8"))["exchanges"]
        return exchanges[0]["response"]

    providers, following = read_page(read_targets, response("plugins_cirq_get_targets.json"))
    targets = {target.id: target for provider in providers for target in provider}
    assert targets["ionq.simulator"].provider == "ionq"
    assert targets["ionq.simulator"].average_queue_time == 1235.0
    assert following is None
    quotas, _ = read_page(read_quota, response("workspace_job_quotas.json"))
    assert quotas[0] == Quota(
        "concurrent_dft_jobs", "Subscription", "microsoft-elements", 0.0, 0.0, 5.0, period=None
    )


def test_a_quota_may_have_a_period() -> None:
    # As recorded.
    document = {
        "dimension": "qgs",
        "scope": "Workspace",
        "providerId": "ionq",
        "utilization": 0.0,
        "holds": 0.0,
        "limit": 1000.0,
        "period": "Monthly",
    }
    assert read_quota(document) == Quota("qgs", "Workspace", "ionq", 0.0, 0.0, 1000.0, "Monthly")


@pytest.mark.parametrize("session_id", [None, "a-session"])
@pytest.mark.parametrize("priority", [None, "High"])
@pytest.mark.parametrize("tags", [(), ("a", "b")])
def test_a_submitted_job_is_what_the_sdks_model_would_send(
    session_id: str | None, priority: str | None, tags: tuple[str, ...]
) -> None:
    request = dataclasses.replace(job_request(session_id), priority=priority, tags=tags)
    document = job_document(request, container_uri="https://c?sas", input_uri="https://c/i")
    details = JobDetails(
        id=request.id,
        name=request.name,
        container_uri="https://c?sas",
        input_data_uri="https://c/i",
        input_data_format=request.input_format,
        output_data_format=request.output_format,
        input_params=request.input_params,
        provider_id="ionq",
        target=request.target,
        session_id=session_id,
        metadata=request.metadata,
        priority=priority,
        tags=list(tags) or None,
    )
    sent = json.loads(json.dumps(details, cls=SdkJSONEncoder, exclude_readonly=True))
    assert document | {"providerId": "ionq"} == sent


def test_an_opened_session_is_what_the_sdks_model_would_send() -> None:
    request = session_request()
    details = SessionDetails(
        id=request.id,
        name=request.name,
        provider_id="ionq",
        target=request.target,
        job_failure_policy="Continue",
    )
    sent = json.loads(json.dumps(details, cls=SdkJSONEncoder, exclude_readonly=True))
    assert session_document(request) | {"providerId": "ionq"} == sent


def test_status_words_are_case_insensitive(workspace: Workspace) -> None:
    job = read_job(workspace, {**JOB, "status": "SUCCEEDED"})
    assert job.status is JobStatus.SUCCEEDED
    session = read_session(workspace, {**JOB, "status": "failure(s)"})
    assert session.status is SessionStatus.FAILURES


def test_failed_job_reports_its_reason_without_secrets(workspace: Workspace) -> None:
    error = {
        "code": "CannotTranslateOutputData",
        "message": "See https://a.blob.core.windows.net/job-1/x?sv=1&sig=abc for more.",
    }
    job = read_job(workspace, {**JOB, "status": "Failed", "errorData": error})
    assert job.error_code == "CannotTranslateOutputData"
    assert job.error_message == "See https://a.blob.core.windows.net/job-1/x for more."


def test_a_cost_has_its_events(workspace: Workspace) -> None:
    cost = {"currencyCode": "EUR", "events": [{"dimensionId": "gs1q"}], "estimatedTotal": 1.5}
    job = read_job(workspace, {**JOB, "costEstimate": cost})
    assert job.cost == Cost(1.5, "EUR", ({"dimensionId": "gs1q"},))


def test_sdk_job_is_made_on_first_access(workspace: Workspace) -> None:
    handle = read_job(workspace, {**JOB, "containerUri": "https://c/job-j"}).handle
    assert handle.id == "j"
    assert handle.details is handle.details
    assert handle.container_name == "job-j"
    assert "has_succeeded" in dir(handle)
    assert not hasattr(handle, "no_such_thing")


@given(
    time=st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2100, 1, 1)),
    digits=st.integers(0, 7),
    zone=st.sampled_from(["Z", "+00:00", ""]),
)
def test_times_are_read_however_the_service_writes_them(
    time: datetime, digits: int, zone: str
) -> None:
    fraction = f"{time.microsecond:06d}7"[:digits]
    text = time.strftime("%Y-%m-%dT%H:%M:%S") + (f".{fraction}" if digits else "") + zone
    cut = timedelta(microseconds=int(fraction[:6].ljust(6, "0") or "0"))
    expected = (time.replace(microsecond=0, tzinfo=UTC) + cut).timestamp()
    assert read_time(text) == pytest.approx(expected, abs=1e-6)


def test_of_the_next_page_only_the_query_counts() -> None:
    link = "https://elsewhere.example/x/sessions?api-version=2000-01-01&skip=100&filter=%28a%20b%29"
    assert read_page(str, {"value": [1], "nextLink": link}) == (
        ["1"],
        {"skip": "100", "filter": "(a b)"},
    )


@pytest.mark.parametrize(
    "link", ["x", "", None, 5, "http://[x", "https://x.example/?api-version=1"]
)
def test_link_without_a_page_ends_the_list(link: Any) -> None:
    assert read_page(str, {"value": [1], "nextLink": link}) == (["1"], None)


def test_an_unknown_status_survives_and_is_not_final(workspace: Workspace) -> None:
    job = read_job(workspace, {**JOB, "status": "Dreaming"})
    assert (job.status.value, job.is_final, job.status.has_result) == ("Dreaming", False, False)
    assert job.status == JobStatus("Dreaming")
    assert pickle.loads(pickle.dumps(job.status)) == job.status
    session = read_session(workspace, {**SESSION, "status": "Paused", "jobFailurePolicy": "Ask"})
    assert (session.status, session.is_open) == ("Paused", True)
    # The service's default.
    assert session.job_failure_policy is JobFailurePolicy.ABORT


ODD = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
ODD = ODD | st.lists(ODD, max_size=2) | st.dictionaries(st.text(max_size=3), ODD, max_size=2)
FIELDS = [
    "target",
    "name",
    "jobFailurePolicy",
    "creationTime",
    "endExecutionTime",
    "beginExecutionTime",
    "costEstimate",
    "sessionId",
    "outputDataFormat",
    "outputDataUri",
    "inputParams",
    "metadata",
    "tags",
    "errorData",
    "providerId",
]
COST = st.fixed_dictionaries({"estimatedTotal": ODD, "currencyCode": ODD, "events": ODD})


@given(fields=st.dictionaries(st.sampled_from(FIELDS), ODD | COST))
def test_malformed_field_loses_no_job_and_no_session(workspace: Workspace, fields: Any) -> None:
    job = read_job(workspace, {**JOB, "status": "Succeeded", **fields})
    assert (job.id, job.status) == ("j", JobStatus.SUCCEEDED)
    assert job.cost is None or isinstance(job.cost.consumed, dict)
    assert read_session(workspace, {**SESSION, **fields}).is_open


@pytest.mark.parametrize(
    "number", [10**400, -(10**400), math.nan, math.inf], ids=["huge", "-huge", "nan", "inf"]
)
def test_huge_number_costs_nothing(workspace: Workspace, number: float) -> None:
    assert read_job(workspace, {**JOB, "costEstimate": {"estimatedTotal": number}}).cost is None
    targets = [{"id": "ionq.simulator", "averageQueueTime": number, "numQubits": number}]
    assert read_targets({"id": "ionq", "targets": targets})[0].average_queue_time == 0.0
    quota = {"dimension": "d", "scope": "s", "providerId": "p", "utilization": 0, "holds": 0}
    items, _ = read_page(read_quota, {"value": [{**quota, "limit": number}, {**quota, "limit": 1}]})
    assert items[-1].limit == 1.0


def test_consumption_that_is_no_number_is_left_out() -> None:
    events = ({"dimensionId": "a", "amountConsumed": "much"}, {"amountConsumed": 2})
    assert Cost(1.0, events=events).consumed == {"": 2}


def test_an_item_that_cannot_be_read_does_not_hide_the_others(workspace: Workspace) -> None:
    items, _ = read_page(
        partial(read_job, workspace), {"value": [None, {**JOB, "id": 7}, JOB, "x"], "nextLink": 5}
    )
    assert [job.id for job in items] == ["j"]
    targets = [{"id": None}, {"id": "ionq.simulator", "averageQueueTime": "long"}]
    assert [each.id for each in read_targets({"id": "ionq", "targets": targets})] == [
        "ionq.simulator"
    ]


def result_of(output_format: str, bits: object = None, **input_params: Any) -> Job:
    """A finished job with a result in this format."""
    return Job(
        *("j", "t", "n", JobStatus.SUCCEEDED),
        output_format=output_format,
        input_params=input_params,
        metadata={} if bits is None else {"bits": str(bits)},
    )


@pytest.mark.parametrize(
    ("job", "least", "most"),
    [
        # What the service would write, twice over, and not much more than needed.
        (result_of("microsoft.quantum-results.v2", shots=10_000, bits=100), 2 * 10_000 * 400, 2e8),
        (result_of("honeywell.quantum-results.v1", count=500, bits=2), 2 * 500 * 12, 4e6),
        # An ideal simulator returns the outcomes that shots might have had.
        (result_of("ionq.quantum-results.v1", shots=1, bits=20), 2**20 * 40, 5e9),
        (result_of("ionq.quantum-results.v1", shots=1, bits=2_000), math.inf, math.inf),
        # Jobs of others, and hostile ones.
        (result_of("ionq.quantum-results.v1", shots=1), math.inf, math.inf),
        (result_of("microsoft.quantum-results.v2", bits=2), math.inf, math.inf),
        (result_of("microsoft.quantum-results.v2", shots=None, bits="many"), math.inf, math.inf),
        (result_of("ionq.quantum-results.v1", shots=1, bits=10**12), math.inf, math.inf),
        (result_of("microsoft.quantum-results.v2", shots=-1, bits=2), math.inf, math.inf),
    ],
)
def test_the_bound_of_a_result_follows_from_its_shots_and_bits(
    job: Job, least: float, most: float
) -> None:
    assert least <= max_output_bytes(job) <= most
