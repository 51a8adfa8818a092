"""Results: a `cirq.ResultDict` in every way, that knows its job."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import cirq
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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


@given(
    shape=st.tuples(st.integers(0, 4), st.integers(1, 3), st.integers(0, 3)),
    dtype=st.sampled_from([np.bool_, np.uint8, np.int8, np.uint64, np.float64]),
    levels=st.sampled_from([2, 10, 12]),
    names=st.lists(st.sampled_from(["m", "c_0", "it's 0"]), unique=True, max_size=2),
    seed=st.integers(0, 1000),
)
def test_its_texts_are_those_of_cirq(
    shape: tuple[int, int, int], dtype: type, levels: int, names: list[str], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    records = {name: rng.integers(0, levels, shape).astype(dtype) for name in names}
    plain = cirq.ResultDict(params=PARAMS, records=records)
    ours = AzureResult(params=PARAMS, records=records)
    assert (str(ours), repr(ours)) == (str(plain), repr(plain))


def test_no_text_is_made_digit_by_digit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cirq.ResultDict, "__str__", None)
    monkeypatch.setattr(cirq.ResultDict, "__repr__", None)
    ours = AzureResult(measurements={"m": np.ones((10_000, 3), np.uint8)})
    assert str(ours) == "m=" + ", ".join(["1" * 10_000] * 3)
    assert repr(ours).count("[[1, 1, 1]]") == 10_000


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


def test_the_sdks_job_is_excluded_from_copies_json_and_comparison() -> None:
    handle = object()
    named = with_job(OURS, replace(JOB, handle=handle))
    assert named.azure_job is handle
    assert AzureResult.join([named, named]).azure_job is handle
    assert named == OURS
    assert cirq.to_json(named) == cirq.to_json(PLAIN)
    assert pickle.loads(pickle.dumps(named)).azure_job is None
    assert OURS.azure_job is None


@given(
    widths=st.lists(st.integers(1, 70), min_size=1, max_size=3),
    repetitions=st.integers(0, 40),
    dtype=st.sampled_from([np.bool_, np.uint8, np.int64, np.float64]),
    levels=st.sampled_from([2, 2, 3]),
    seed=st.integers(0, 1000),
)
def test_histograms_are_those_of_cirq(
    widths: list[int], repetitions: int, dtype: type, levels: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, 7, repetitions)
    measurements = {
        name: rng.integers(0, levels, (7, width))[chosen].astype(dtype)
        for name, width in zip("abc", widths, strict=False)
    }
    plain = cirq.ResultDict(measurements=measurements)
    ours = AzureResult(measurements=measurements)
    keys = [*measurements]
    for chosen_keys in ([], keys, keys[::-1], [keys[0], keys[0]]):
        expected = plain.multi_measurement_histogram(keys=chosen_keys)
        found = ours.multi_measurement_histogram(keys=iter(chosen_keys))
        # In the same order too, which decides between outcomes of the same count.
        assert list(found.items()) == list(expected.items())
    for key in keys:
        found = ours.histogram(key=key)
        assert list(found.items()) == list(plain.histogram(key=key).items())
        assert {type(outcome) for outcome in found} <= {int}
        assert ours.histogram(key=key, fold_func=sum) == plain.histogram(key=key, fold_func=sum)


def test_a_histogram_is_refused_as_cirq_refuses_it() -> None:
    repeated = AzureResult(records={"m": np.zeros((3, 2, 1), np.uint8)})
    with pytest.raises(ValueError, match="repeated keys"):
        repeated.histogram(key="m")
    with pytest.raises(KeyError):
        AzureResult(measurements={"m": np.zeros((3, 1), np.uint8)}).histogram(key="n")


def test_a_histogram_may_name_its_key_by_qubits() -> None:
    ours = AzureResult(measurements={"q(0),q(1)": np.array([[1, 0], [1, 0]])})
    assert ours.histogram(key=cirq.LineQubit.range(2)) == {2: 2}


def test_no_function_is_called_for_each_repetition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cirq.Result, "multi_measurement_histogram", None)
    ours = AzureResult(measurements={"m": np.ones((1_000_000, 3), np.uint8)})
    assert ours.histogram(key="m") == {7: 1_000_000}
