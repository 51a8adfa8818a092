"""Results: a `cirq.ResultDict` in every way, that knows its job."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import cirq
import numpy as np
import pytest

from cirq_azure_sessions.errors import ResultFormatError
from cirq_azure_sessions.model import Cost, Job, JobStatus
from cirq_azure_sessions.results.azure_result import AzureResult

RECORDS = {"m": np.array([[[0, 1]], [[1, 1]]], dtype=np.int8), "k": np.zeros((2, 2, 1), np.uint8)}
PARAMS = cirq.ParamResolver({"t": 0.5})
PLAIN = cirq.ResultDict(params=PARAMS, records=RECORDS)
OURS = AzureResult(
    params=PARAMS,
    records=RECORDS,
    target="ionq.simulator",
    probabilities={1: 0.5, 3: 0.5},
    raw_shots=[[0, 1], [1, 1]],
    lost_shots=1,
)
JOB = Job(
    id="j-1",
    target="ionq.simulator",
    name="n",
    status=JobStatus.SUCCEEDED,
    session_id="s-1",
    creation_time=1.0,
    begin_time=2.0,
    end_time=3.0,
    cost=Cost(1.5, "USD", ({"dimensionId": "gs1q"},)),
)


def with_job(result: AzureResult, job: Job) -> AzureResult:
    """A copy that names its job."""
    named = copy.copy(result)
    named._set_job(job)
    return named


def test_it_equals_the_plain_result_both_ways() -> None:
    assert OURS == PLAIN
    assert PLAIN == OURS
    assert AzureResult(params=PARAMS, records={"m": RECORDS["m"]}) != OURS


def test_it_prints_as_the_plain_result() -> None:
    assert repr(OURS) == repr(PLAIN)
    assert str(OURS) == str(PLAIN)
    cirq.testing.assert_equivalent_repr(OURS, setup_code="import cirq\nimport numpy as np")


def test_json_is_that_of_the_plain_result() -> None:
    assert cirq.to_json(OURS) == cirq.to_json(PLAIN)
    assert cirq.read_json(json_text=cirq.to_json(OURS)) == OURS


def test_frames_and_histograms_work() -> None:
    single = AzureResult(params=PARAMS, records={"m": RECORDS["m"]})
    assert single.histogram(key="m") == {1: 1, 3: 1}
    assert single.data["m"].tolist() == [1, 3]
    assert (single + single).repetitions == 4


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda r: pickle.loads(pickle.dumps(r))]
)
def test_copies_and_pickles_keep_everything(duplicate: object) -> None:
    again = duplicate(with_job(OURS, JOB))  # type: ignore[operator]
    assert type(again) is AzureResult
    assert again == OURS
    assert again.__dict__.keys() == OURS.__dict__.keys()
    assert (again.job_id, again.session_id, again.target) == ("j-1", "s-1", "ionq.simulator")
    assert again.probabilities == OURS.probabilities
    assert again.raw_shots == OURS.raw_shots
    assert again.lost_shots == 1
    assert again.cost == JOB.cost


def test_a_result_names_its_job() -> None:
    named = with_job(OURS, JOB)
    assert named.job_id == "j-1"
    assert named.job_ids == ("j-1",)
    assert (named.creation_time, named.begin_time, named.end_time) == (1.0, 2.0, 3.0)
    assert named.records is OURS.records


def test_a_plain_result_becomes_one_that_can_name_a_job() -> None:
    result = AzureResult.from_result(PLAIN, target="local.simulator")
    assert result == PLAIN
    assert result.target == "local.simulator"


def test_parts_of_a_point_are_joined_in_order() -> None:
    first = with_job(AzureResult(params=PARAMS, records={"m": RECORDS["m"]}), JOB)
    other = Job(id="j-2", target="t", name="n", status=JobStatus.SUCCEEDED, cost=Cost(2.0))
    inverted = {"m": 1 - RECORDS["m"]}
    second = with_job(
        AzureResult(params=PARAMS, records=inverted, raw_shots=["x"], lost_shots=2), other
    )
    joined = AzureResult.join([first, second])
    assert joined == first + second
    assert joined.measurements["m"].tolist() == [[0, 1], [1, 1], [1, 0], [0, 0]]
    assert joined.job_ids == ("j-1", "j-2")
    assert joined.lost_shots == 2
    assert joined.raw_shots == ["x"]
    assert joined.cost == Cost(3.5, "USD", JOB.cost.events if JOB.cost else ())
    assert first.repetitions == 2


def test_one_part_is_the_point() -> None:
    assert AzureResult.join([OURS]) is OURS


@pytest.mark.parametrize(
    "other",
    [
        AzureResult(params=PARAMS, records={"n": RECORDS["m"]}),
        AzureResult(params=PARAMS, records={"m": RECORDS["k"]}),
        AzureResult(records={"m": RECORDS["m"]}),
    ],
    ids=["key", "shape", "params"],
)
def test_parts_of_different_points_are_not_joined(other: AzureResult) -> None:
    with pytest.raises(ResultFormatError, match="different keys or parameters"):
        AzureResult.join([AzureResult(params=PARAMS, records={"m": RECORDS["m"]}), other])


def test_the_sdks_job_is_at_hand_and_stays_out_of_copies_json_and_comparison() -> None:
    handle = object()
    named = with_job(OURS, replace(JOB, handle=handle))
    assert named.azure_job is handle
    assert AzureResult.join([named, named]).azure_job is handle
    assert named == OURS
    assert cirq.to_json(named) == cirq.to_json(PLAIN)
    assert pickle.loads(pickle.dumps(named)).azure_job is None
    assert OURS.azure_job is None
