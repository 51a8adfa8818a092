"""Several points in one job: each gets what a job of its own would have given it."""

from __future__ import annotations

import json
from typing import Any

import cirq
import numpy as np
import pytest
import scipy.stats
import sympy
from formats_lab import (
    FALSE_ALARM,
    IONQ,
    IONQ_HARDWARE,
    QIR,
    QUANTINUUM,
    SEED,
    assert_same_distribution,
    assert_same_form,
    emulate,
    measured_at_end,
    measured_in_between,
    outcomes,
    simulate,
    translation,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from cirq_azure_sessions.errors import ResultFormatError, UnsupportedProgram
from cirq_azure_sessions.formats import format_for
from cirq_azure_sessions.formats.layout import layout_as_submitted, read_layout, write_layout
from cirq_azure_sessions.formats.packing import as_pack, translate_pack
from cirq_azure_sessions.formats.translation import Translation, TranslationOptions
from cirq_azure_sessions.results.azure_result import AzureResult

PACKABLE = (IONQ_HARDWARE, QUANTINUUM, QIR)
PLAIN = {"error-mitigation": {"debias": False}}
A, B, C = cirq.LineQubit.range(3)
T = sympy.Symbol("t")
ROTATION = cirq.Circuit(
    cirq.rx(T)(A), cirq.CNOT(A, B), cirq.measure(A, key="a"), cirq.measure(B, key="b")
)


def points(count: int) -> list[dict[str, float]]:
    return [{"t": 0.3 + k / 3} for k in range(count)]


def packed(
    target: str, circuit: cirq.Circuit, count: int, pack: Any, repetitions: int = 100, **more: Any
) -> Any:
    params = PLAIN if target == IONQ_HARDWARE else {}
    checked = as_pack(pack, format_for(target), target)
    return translation(
        target, circuit, points(count), repetitions, pack=checked, input_params=params, **more
    )


def results_of(target: str, sweep: Translation) -> dict[int, AzureResult]:
    """The results by point, read by another process: from bytes and metadata alone."""
    reader = format_for(target)
    found: dict[int, AzureResult] = {}
    for index in range(len(sweep)):
        job = sweep.job(index)
        output = emulate(target, job, seed=index)
        layout = reader.read_layout(dict(job.metadata))
        found |= zip(job.points, reader.decode(output, layout), strict=True)
    return found


# Which points share a job


def test_neighbours_in_a_sweep_are_in_different_jobs() -> None:
    sweep = packed(QUANTINUUM, ROTATION, 10, 4)
    assert [sweep.points(k) for k in range(len(sweep))] == [(0, 3, 6, 9), (1, 4, 7), (2, 5, 8)]


def test_incomplete_pack_has_no_empty_blocks() -> None:
    sweep = packed(QUANTINUUM, ROTATION, 3, 2)
    jobs = [sweep.job(k) for k in range(len(sweep))]
    assert [job.points for job in jobs] == [(0, 2), (1,)]
    alone = translation(QUANTINUUM, ROTATION, points(3), 100).job(1)
    assert (jobs[1].payload, jobs[1].metadata) == (alone.payload, alone.metadata)


def test_parts_of_a_point_never_share_a_job() -> None:
    sweep = packed(IONQ_HARDWARE, ROTATION, 4, 2, repetitions=25_000)
    assert [sweep.points(k) for k in range(len(sweep))] == [(0, 2)] * 3 + [(1, 3)] * 3
    shots = [sweep.job(k).input_params["shots"] for k in range(len(sweep))]
    assert shots == [10_000, 10_000, 5_000] * 2


@pytest.mark.parametrize(
    ("target", "qubits", "jobs"),
    [
        (IONQ_HARDWARE, 1, 2),
        (IONQ_HARDWARE, 4, 9),
        ("ionq.qpu.forte-1", 2, 3),
        ("ionq.qpu.forte-1", 8, 13),
        ("quantinuum.qpu.h2-1", 1, 1),
        ("quantinuum.qpu.h2-1", 8, 8),
        (IONQ_HARDWARE, 20, 50),
    ],
)
def test_auto_takes_as_many_points_as_the_machine_has_room_for(
    target: str, qubits: int, jobs: int
) -> None:
    chain = cirq.LineQubit.range(qubits)
    circuit = cirq.Circuit(cirq.rx(T)(chain[0]), cirq.measure(*chain, key="m"))
    assert len(packed(target, circuit, 50, "auto")) == jobs


def test_circuits_of_one_job_have_the_same_gateset() -> None:
    import cirq_ionq

    native = cirq.Circuit(cirq_ionq.GPIGate(phi=0.1)(A), cirq.measure(A, key="m"))
    qis = cirq.Circuit(cirq.H(A), cirq.measure(A, key="m"))
    options = TranslationOptions(IONQ_HARDWARE, pack=8, seed=SEED)
    resolver = [cirq.ParamResolver({})]
    circuits = [(circuit, resolver, 100, SEED) for circuit in (native, qis, native, qis)]
    sweep = translate_pack(format_for(IONQ_HARDWARE), circuits, options)
    jobs = [sweep.job(k) for k in range(len(sweep))]
    assert {job.points: json.loads(job.payload)["gateset"] for job in jobs} == {
        (0, 2): "native",
        (1, 3): "qis",
    }


# The program


def test_blocks_keep_the_order_of_qubits_that_they_have_alone() -> None:
    program = json.loads(packed(IONQ_HARDWARE, ROTATION, 2, 2).job(0).payload)
    alone = json.loads(translation(IONQ_HARDWARE, ROTATION, points(2)).job(1).payload)
    moved = [{**gate} for gate in alone["circuit"]]
    moved[0]["targets"] = [2]
    moved[1] |= {"control": 2, "target": 3}
    assert program["qubits"] == 4
    assert program["circuit"][2:] == moved


@pytest.mark.parametrize("target", [*PACKABLE, "rigetti.qpu.ankaa-3"])
def test_a_placement_sets_the_qubits_of_each_point(target: str) -> None:
    pack = [[7, 3], [0, 5]]
    sweep = packed(target, ROTATION, 4, pack, repetitions=2_000)
    assert len(sweep) == 2
    if target != "rigetti.qpu.ankaa-3":
        for point, result in results_of(target, sweep).items():
            assert_same_distribution(result, simulate(ROTATION, points(4)[point], 2_000))
    elif "q[7]" not in (text := sweep.job(0).payload.decode()):
        assert all(f"i64 {qubit} to %Qubit" in text for qubit in (3, 5, 7))


def test_measurements_at_the_end_stay_there_without_further_qubits() -> None:
    text = packed(QIR, ROTATION, 3, 3).job(0).payload.decode()
    assert '"required_num_qubits"="6"' in text
    assert text.rindex("call void @__quantum__qis__rx__") < text.index(
        "call void @__quantum__qis__m__"
    )


# Results


@pytest.mark.parametrize("target", PACKABLE)
def test_packed_results_have_the_form_and_distribution_of_unpacked_ones(target: str) -> None:
    results = results_of(target, packed(target, ROTATION, 7, 3, repetitions=3_000))
    for point, params in enumerate(points(7)):
        expected = simulate(ROTATION, params, 3_000)
        assert_same_form(results[point], expected)
        assert_same_distribution(results[point], expected)


@pytest.mark.parametrize("target", PACKABLE)
def test_points_of_a_job_are_independent(target: str) -> None:
    """A chi-square test on the joint counts; it fails on independent points once in 10**7."""
    flip = cirq.Circuit(cirq.rx(T)(A), cirq.measure(A, key="m"))
    results = results_of(target, packed(target, flip, 2, 2, repetitions=4_000))
    first, second = (results[point].measurements["m"][:, 0] for point in (0, 1))
    table = np.histogram2d(first, second, bins=2)[0]
    assert scipy.stats.chi2_contingency(table, correction=False).pvalue > FALSE_ALARM


@settings(max_examples=8, deadline=None)
@given(
    circuits=st.lists(measured_at_end(), min_size=2, max_size=3),
    pack=st.integers(2, 3),
    target=st.sampled_from(PACKABLE),
)
def test_any_circuits_side_by_side_give_cirqs_answers(
    circuits: list[cirq.Circuit], pack: int, target: str
) -> None:
    check_batch(target, circuits, pack)


@settings(max_examples=5, deadline=None)
@given(
    circuits=st.lists(measured_in_between(), min_size=2, max_size=3),
    pack=st.integers(2, 3),
)
def test_classically_controlled_circuits_run_side_by_side(
    circuits: list[cirq.Circuit], pack: int
) -> None:
    check_batch(QUANTINUUM, circuits, pack)


def check_batch(target: str, circuits: list[cirq.Circuit], pack: int) -> None:
    options = TranslationOptions(target, pack=pack, seed=SEED, input_params={})
    resolver = [cirq.ParamResolver({})]
    calls = [(circuit, resolver, 400, SEED) for circuit in circuits]
    sweep = translate_pack(format_for(target), calls, options)
    results = results_of(target, sweep)
    for point, circuit in enumerate(circuits):
        expected = simulate(circuit, None, 400)
        assert_same_form(results[point], expected)
        assert_same_distribution(results[point], expected)


def test_the_shape_of_a_circuit_may_depend_on_the_point() -> None:
    loop = cirq.CircuitOperation(
        cirq.FrozenCircuit(cirq.X(A)), repetitions=sympy.Symbol("n"), use_repetition_ids=False
    )
    circuit = cirq.Circuit(loop, cirq.measure(A, key="m"))
    sweep = translation(QUANTINUUM, circuit, [{"n": n} for n in (1, 2, 3)], 10, pack=3)
    results = results_of(QUANTINUUM, sweep)
    assert [int(results[n].measurements["m"].sum()) for n in range(3)] == [10, 0, 10]


def test_lost_qubit_costs_only_its_own_point_a_shot() -> None:
    job = packed(QIR, ROTATION, 2, 2, repetitions=3).job(0)
    shots = [[0, 1, 0, 1], ["Loss", 1, 1, 1], {"Error": {"Code": 1}}]
    answer = json.dumps({"Results": [{"Shots": shots}]})
    first, second = format_for(QIR).decode(answer, job.layout)
    assert [first.lost_shots, second.lost_shots] == [2, 1]
    assert second.measurements["a"].tolist() == [[0], [1]]


@pytest.mark.parametrize(
    "shots", [[[0, 1]], [["what", 1, 0, 1]], [[0, 1, 0]]], ids=["few", "no bit", "odd"]
)
def test_unrelated_response_is_refused(shots: list[Any]) -> None:
    job = packed(QIR, ROTATION, 2, 2, repetitions=3).job(0)
    with pytest.raises(ResultFormatError):
        format_for(QIR).decode(json.dumps({"Results": [{"Shots": shots}]}), job.layout)


def test_many_rounded_fractions_of_a_histogram_add_up_to_counts() -> None:
    job = packed(IONQ_HARDWARE, ROTATION, 2, 2, repetitions=7).job(0)
    histogram = {str(k): round(1 / 7, 4) for k in range(7)}
    first, second = format_for(IONQ_HARDWARE).decode(
        json.dumps({"histogram": histogram}), job.layout
    )
    assert outcomes(first) == {(0, 0): 2, (1, 0): 2, (0, 1): 2, (1, 1): 1}
    assert outcomes(second) == {(0, 0): 4, (1, 0): 3}


# Metadata


def test_the_layout_of_a_job_of_several_points_is_in_its_metadata() -> None:
    job = packed(QUANTINUUM, ROTATION, 3, 3).job(0)
    assert read_layout(write_layout(job.layout)) == job.layout
    assert [block.params["t"] for block in job.layout.blocks] == [each["t"] for each in points(3)]


def test_point_is_read_from_the_job_of_an_earlier_run() -> None:
    earlier = packed(QUANTINUUM, ROTATION, 3, 3, repetitions=50)
    output = emulate(QUANTINUUM, earlier.job(0))
    alone = translation(QUANTINUUM, ROTATION, points(3), 50)
    reader = format_for(QUANTINUUM)
    together = reader.decode(output, earlier.job(0).layout)
    for point in range(3):
        layout = alone.job(point).layout
        layout = layout_as_submitted(layout, earlier.job(0).layout, [point], is_seeded=False)
        [result] = reader.decode(output, layout)
        assert result == together[point]


# What is refused


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (IONQ, "exact probabilities"),
        ("local.simulator", "in one free job"),
        ("rigetti.qpu.ankaa-3", "pass the numbers of the qubits"),
        ("qci.machine1", "pass the numbers of the qubits"),
        ("pluto.qpu.nine", "pass the numbers of the qubits"),
    ],
)
def test_targets_on_which_points_share_no_job(target: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        as_pack(2, format_for(target), target)


@pytest.mark.parametrize(
    "pack", [0, -1, True, 2.0, "all", [], [[]], [[0, 1], [1, 2]], [[0, -1]], [0, 1], b"auto"]
)
def test_an_invalid_pack_is_refused(pack: Any) -> None:
    with pytest.raises(ValueError, match="pack must be"):
        as_pack(pack, format_for(QUANTINUUM), QUANTINUUM)


def test_auto_needs_a_number_of_qubits() -> None:
    with pytest.raises(ValueError, match="give a number of points"):
        as_pack("auto", format_for(QIR), QIR)


def test_more_qubits_than_are_published_need_a_placement() -> None:
    with pytest.raises(UnsupportedProgram, match=r"needs 26 qubits, but ionq\.qpu\.aria-1 has 25"):
        packed(IONQ_HARDWARE, ROTATION, 26, 13)
    placement = [[2 * k, 2 * k + 1] for k in range(13)]
    assert len(packed(IONQ_HARDWARE, ROTATION, 26, placement)) == 2


def test_a_placement_has_a_qubit_for_each_of_the_circuit() -> None:
    with pytest.raises(UnsupportedProgram, match="1 qubit for a point, but the circuit has 2"):
        packed(QUANTINUUM, ROTATION, 2, [[0, 1], [2]])


def test_ionqs_debiasing_is_warned_of(recwarn: pytest.WarningsRecorder) -> None:
    def warned(repetitions: int, input_params: dict[str, Any], pack: int | None) -> bool:
        recwarn.clear()
        translation(
            IONQ_HARDWARE, ROTATION, points(4), repetitions, pack=pack, input_params=input_params
        )
        return any("debias" in str(warning.message) for warning in recwarn)

    assert warned(500, {}, 2)
    assert not warned(499, {}, 2)
    assert not warned(500, PLAIN, 2)
    assert not warned(500, {}, None)
