"""QIR on the emulator: recorded programs and results, both profiles, and hostile modules."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emulated import run_program
from services import wait_until
from shared import SHARED

from cirq_azure_sessions.emulator import qir_worker
from cirq_azure_sessions.emulator.programs import NOISELESS
from cirq_azure_sessions.emulator.programs.qir_pool import QirPool
from cirq_azure_sessions.workspaces.local import ProgramError
from cirq_azure_sessions.workspaces.local.program import Budget

# What the budget spends in a second.
SECOND = 100_000_000

pyqir = pytest.importorskip("pyqir", reason="the extra `qir` is not installed")

RECORDINGS = SHARED / "recordings"

V1, V2 = "microsoft.quantum-results.v1", "microsoft.quantum-results.v2"
QVM, IONQ, ECHO = "rigetti.sim.qvm", "ionq.simulator", "echo-quantinuum"


def run(
    qir: str | bytes,
    *,
    target: str = QVM,
    params: Mapping[str, Any] | None = None,
    output_format: str = V2,
    seed: int = 1,
    **options: Any,
) -> Any:
    provider = "microsoft.test.firstparty" if target == ECHO else target.split(".")[0]
    output = run_program(
        target=target,
        provider=provider,
        input_format="qir.v1",
        output_format=output_format,
        payload=qir.encode() if isinstance(qir, str) else qir,
        input_params={"shots": 20} if params is None else params,
        rng=np.random.default_rng(seed),
        **options,
    )
    return json.loads(output.content)


def shots(qir: str | bytes, **options: Any) -> list[Any]:
    (result,) = run(qir, **options)["Results"]
    values: list[Any] = result["Shots"]
    return values


def module(*body: str, profile: str = "base", qubits: int = 3, name: str = "main") -> str:
    """A QIR program in text, with an entry point made of these lines."""
    return "\n".join(
        [
            "%Result = type opaque",
            "%Qubit = type opaque",
            f"define void @{name}() #0 {{",
            "start:",
            *body,
            "}",
            *(f"declare void @__quantum__qis__{gate}(%Qubit*)" for gate in ONE_QUBIT),
            *(f"declare void @__quantum__qis__{gate}(double, %Qubit*)" for gate in TURNS),
            *(f"declare void @__quantum__qis__{gate}(%Qubit*, %Qubit*)" for gate in TWO_QUBIT),
            "declare void @__quantum__qis__rzz__body(double, %Qubit*, %Qubit*)",
            "declare void @__quantum__qis__ccx__body(%Qubit*, %Qubit*, %Qubit*)",
            "declare void @__quantum__qis__mz__body(%Qubit*, %Result*) #1",
            "declare i1 @__quantum__rt__read_result(%Result*)",
            "declare void @__quantum__rt__array_record_output(i64, i8*)",
            "declare void @__quantum__rt__tuple_record_output(i64, i8*)",
            "declare void @__quantum__rt__result_record_output(%Result*, i8*)",
            "declare void @__quantum__rt__int_record_output(i64, i8*)",
            f'attributes #0 = {{ "entry_point" "qir_profiles"="{profile}_profile" '
            f'"required_num_qubits"="{qubits}" "required_num_results"="{qubits}" }}',
            'attributes #1 = { "irreversible" }',
            "!llvm.module.flags = !{!0, !1, !2, !3}",
            '!0 = !{i32 1, !"qir_major_version", i32 1}',
            '!1 = !{i32 7, !"qir_minor_version", i32 0}',
            '!2 = !{i32 1, !"dynamic_qubit_management", i1 false}',
            '!3 = !{i32 1, !"dynamic_result_management", i1 false}',
        ]
    )


ONE_QUBIT = [f"{gate}__body" for gate in "hxyzst"] + ["s__adj", "t__adj", "reset__body"]
TURNS = [f"{gate}__body" for gate in ("rx", "ry", "rz")]
TWO_QUBIT = [f"{gate}__body" for gate in ("cx", "cz", "swap")]


def qubit(number: int) -> str:
    return f"%Qubit* inttoptr (i64 {number} to %Qubit*)"


def result(number: int) -> str:
    return f"%Result* inttoptr (i64 {number} to %Result*)"


def gate(name: str, *qubits: int, angle: float | None = None) -> str:
    suffix = name if "__" in name else f"{name}__body"
    args = [f"double {angle!r}"] if angle is not None else []
    return f"call void @__quantum__qis__{suffix}({', '.join([*args, *map(qubit, qubits)])})"


def measure(number: int, into: int) -> str:
    return f"call void @__quantum__qis__mz__body({qubit(number)}, {result(into)})"


def record(kind: str, number: int) -> str:
    args = result(number) if kind == "result" else f"i64 {number}"
    return f"call void @__quantum__rt__{kind}_record_output({args}, i8* null)"


RETURN = "ret void"

# Qubit 0 is 0, qubit 1 is 1; the results are recorded in the order 1, 0, 0.
ORDERED = module(
    gate("x", 1),
    measure(0, 0),
    measure(1, 1),
    record("array", 3),
    record("result", 1),
    record("result", 0),
    record("result", 0),
    RETURN,
)


@pytest.mark.parametrize("target", [QVM, IONQ, "qci.simulator", ECHO])
def test_results_come_in_the_order_in_which_the_program_records_them(target: str) -> None:
    assert shots(ORDERED, target=target) == [[1, 0, 0]] * 20


@pytest.mark.parametrize("target", [QVM, IONQ])
def test_arrays_and_tuples_nest(target: str) -> None:
    program = module(
        gate("x", 1),
        measure(0, 0),
        measure(1, 1),
        *(record("tuple", 2), record("array", 2), record("result", 0), record("result", 1)),
        *(record("tuple", 1), record("result", 1)),
        RETURN,
    )
    document = run(program, target=target, params={"shots": 2})
    value = {"Item1": [0, 1], "Item2": {"Item1": 1}}
    assert document == {
        "DataFormat": V2,
        "Results": [
            {
                "Histogram": [{"Outcome": value, "Display": "([0, 1], (1,))", "Count": 2}],
                "Shots": [value, value],
            }
        ],
    }


def bell(*, angle: float = 0.0) -> str:
    return module(
        gate("h", 0),
        gate("rz", 0, angle=angle),
        gate("cx", 0, 1),
        measure(0, 0),
        measure(1, 1),
        *(record("array", 2), record("result", 0), record("result", 1)),
        RETURN,
    )


def test_bitcode_is_read_as_text_is() -> None:
    bitcode = pyqir.Module.from_ir(pyqir.Context(), bell()).bitcode
    assert shots(bitcode) == shots(bell())
    assert {tuple(shot) for shot in shots(bitcode)} == {(0, 0), (1, 1)}


def test_results_v1_are_displays_and_their_shares() -> None:
    histogram = run(bell(), output_format=V1, target=IONQ)["Histogram"]
    assert histogram == ["[0, 0]", 0.5, "[1, 1]", 0.5]


def test_the_same_random_numbers_give_the_same_result() -> None:
    first, again, other = (shots(bell(), seed=seed) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize(
    ("target", "number"), [(QVM, 1), (ECHO, 1), (IONQ, 500), ("quantinuum.sim.h2-1e", 1)]
)
def test_each_provider_has_its_own_default_shots(target: str, number: int) -> None:
    assert len(shots(ORDERED, target=target, params={})) == number


def test_an_adaptive_program_branches_on_measurements() -> None:
    program = module(
        gate("h", 0),
        measure(0, 0),
        f"%one = call i1 @__quantum__rt__read_result({result(0)})",
        "br i1 %one, label %flip, label %end",
        "flip:",
        gate("x", 1),
        "br label %end",
        "end:",
        "%number = phi i64 [0, %start], [7, %flip]",
        measure(1, 1),
        *(record("tuple", 3), record("result", 0), record("result", 1), record("int", 0)),
        RETURN,
        profile="adaptive",
    ).replace("int_record_output(i64 0", "int_record_output(i64 %number")
    found = {tuple(shot.values()) for shot in shots(program, params={"shots": 50})}
    assert found == {(0, 0, 0), (1, 1, 7)}


GATES = [
    *(gate(name, 0) for name in ("h", "x", "y", "z", "s", "t", "s__adj", "t__adj")),
    *(gate(name, 1, angle=0.3) for name in ("rx", "ry", "rz")),
    *(gate("h", 1), gate("cx", 0, 1), gate("cz", 1, 2), gate("swap", 0, 2)),
    *(
        gate("ry", 2, angle=1.1),
        f"call void @__quantum__qis__rzz__body(double 0.7, {qubit(0)}, {qubit(1)})",
        gate("ccx", 2, 1, 0),
        gate("h", 0),
        gate("rx", 1, angle=0.9),
    ),
]


# No circuit has a reset, so a program that begins with one is left to qdk.
FOR_QDK = gate("reset", 0)


def test_a_circuit_has_the_distribution_that_qdk_gives_it() -> None:
    """Frequencies of 100,000 shots within six standard deviations of the exact probabilities."""
    ending = [
        *(measure(number, number) for number in range(3)),
        *(record("array", 3), *(record("result", number) for number in range(3))),
        RETURN,
    ]
    number = 100_000
    params = {"shots": number}
    exact = Counter(map(tuple, shots(module(*GATES, *ending), target=IONQ, params=params)))
    assert len(exact) == 8
    for body in ([*GATES, *ending], [FOR_QDK, *GATES, *ending]):
        sampled = Counter(map(tuple, shots(module(*body), params=params)))
        for outcome, count in exact.items():
            probability = count / number
            deviation = math.sqrt(number * probability * (1 - probability))
            # The exact counts are rounded to whole ones.
            assert abs(sampled[outcome] - count) < 6 * deviation + 1


@pytest.mark.parametrize("way", ["br label %second\nsecond:", "br label %third\nsecond:"])
def test_blocks_run_in_the_order_in_which_they_lead_to_each_other(way: str) -> None:
    # The second way goes by the third block first, where qubit 1 is flipped.
    ahead = "third" in way
    program = module(
        way,
        gate("cx", 1, 0),
        "br label %last" if ahead else "br label %third",
        "third:",
        gate("x", 1),
        "br label %second" if ahead else "br label %last",
        "last:",
        *(measure(0, 0), measure(1, 1)),
        *(record("array", 2), record("result", 0), record("result", 1)),
        RETURN,
        profile="adaptive",
    )
    assert shots(program, params={"shots": 2}) == [[int(ahead), 1]] * 2


def test_a_large_circuit_is_sampled_from_one_state() -> None:
    size = 16
    program = module(
        gate("h", 0),
        *(gate("cx", number, number + 1) for number in range(size - 1)),
        *(measure(number, number) for number in range(size)),
        *(record("array", size), *(record("result", number) for number in range(size))),
        RETURN,
        qubits=size,
    )
    found = {tuple(shot) for shot in shots(program, params={"shots": 10_000})}
    assert found == {(0,) * size, (1,) * size}


def superposition(qubits: int) -> str:
    """Some qubits with equal amplitudes, the first of which is measured."""
    gates = [gate("h", qubit) for qubit in range(qubits)]
    body = [*gates, measure(0, 0), record("array", 1), record("result", 0), RETURN]
    return module(*body, qubits=qubits)


def test_ionq_rounds_the_count_of_each_outcome_of_all_qubits() -> None:
    found = shots(superposition(5), target=IONQ, params={"shots": 1000})
    # Recorded: 16 outcomes of 31.25 shots each for 0, and as many for 1.
    assert Counter(map(tuple, found)) == {(0,): 496, (1,): 496}


def test_outcomes_that_ionq_would_all_round_away_are_drawn_once_each() -> None:
    assert len(shots(superposition(5), target=IONQ, params={"shots": 10})) == 10


def test_ionq_machine_samples_with_noise() -> None:
    found = shots(bell(), target="ionq.qpu.aria-1", params={"shots": 5000})
    assert len(found) == 5000
    assert {tuple(shot) for shot in found} == {(0, 0), (0, 1), (1, 0), (1, 1)}


@pytest.mark.parametrize(
    "body",
    [
        [measure(0, 0), gate("x", 0), record("result", 0), RETURN],
        [gate("reset", 0), measure(0, 0), record("result", 0), RETURN],
        [record("result", 0), RETURN],
        [measure(0, 0), record("array", 2), record("result", 0), RETURN],
        [measure(0, 0), *[record("array", 1)] * 500, record("result", 0), RETURN],
        [gate("cx", 0, 0), RETURN],
        [gate("x", 9_999), RETURN],
        [gate("x", 10**12), RETURN],
    ],
    ids=["mid-circuit", "reset", "unmeasured", "short", "nested", "twice", "large", "huge"],
)
def test_circuits_that_ionq_cannot_run_fail_as_invalid_input(body: list[str]) -> None:
    with pytest.raises(ProgramError) as caught:
        run(module(*body), target=IONQ)
    assert caught.value.code == "InvalidInputData"


def test_syntax_checker_returns_zeros_of_the_same_form() -> None:
    assert shots(ORDERED, target="quantinuum.sim.h2-1sc") == [[0, 0, 0]] * 20


def test_quantinuums_own_results_have_one_string_per_shot() -> None:
    assert run(ORDERED, target=ECHO, output_format="honeywell.qir.v1", params={}) == {"c": ["001"]}


def noisy_x(count: int, *start: str) -> str:
    ending = [measure(0, 0), record("result", 0), RETURN]
    return module(*start, *[gate("x", 0)] * count, *ending)


@pytest.mark.parametrize("start", [[], [FOR_QDK]], ids=["circuit", "qdk"])
def test_noise_is_applied_after_gates_and_at_readout(start: list[str]) -> None:
    rates = {"p1": 0.03, "p_meas": [0.02, 0.06]}
    params = {"shots": 50_000, "error-params": rates}
    found = shots(noisy_x(2, *start), target="quantinuum.sim.h2-1e", params=params)
    one = (1 - (1 - 2 * 0.02) ** 2) / 2
    wanted = one * (1 - 0.06) + (1 - one) * 0.02
    # Six standard deviations: one false alarm in 5e8.
    assert abs(sum(found) / 50_000 - wanted) < 6 * math.sqrt(wanted * (1 - wanted) / 50_000)


def test_noise_of_machines_and_their_emulators_can_be_disabled() -> None:
    for target in ("rigetti.qpu.ankaa-3", "quantinuum.sim.h1-1e"):
        params = {"shots": 5000}
        assert set(shots(noisy_x(40), target=target, params=params)) == {0, 1}
        assert set(shots(noisy_x(40), target=target, params=params, noise=NOISELESS)) == {0}


def test_each_item_of_a_batch_runs_its_own_entry_point() -> None:
    ones = module(gate("x", 0), measure(0, 0), record("result", 0), RETURN, name="ones")
    zeros = (
        "define void @zeros() #0 {\n"
        + measure(0, 0)
        + "\n"
        + record("result", 0)
        + "\nret void\n}\n"
    )
    both = ones.replace("declare", zeros + "declare", 1)
    items = [{"entryPoint": "ones"}, {"entryPoint": "zeros", "arguments": []}]
    document = run(both, params={"shots": 3, "items": items})
    assert [entry["Shots"] for entry in document["Results"]] == [[1, 1, 1], [0, 0, 0]]
    assert shots(both, params={"entryPoint": "zeros"}) == [0]


@pytest.mark.parametrize(
    "params",
    [
        {"entryPoint": "nobody"},
        {"entryPoint": 3},
        {"items": []},
        {"items": ["main"]},
        {"items": [{}] * 1001},
        {"arguments": [{"name": "n", "value": 3, "type": "Int"}]},
        {"shots": 0},
    ],
    ids=str,
)
def test_invalid_parameters_fail_as_invalid_input(params: dict[str, Any]) -> None:
    with pytest.raises(ProgramError) as caught:
        run(ORDERED, params=params)
    assert caught.value.code == "InvalidInputData"


def test_an_unknown_output_format_cannot_be_translated() -> None:
    with pytest.raises(ProgramError) as caught:
        run(ORDERED, target=ECHO, output_format="invalid_output_format")
    assert caught.value.code == "CannotTranslateOutputData"
    assert "'microsoft.test.firstparty'" in caught.value.message


BROKEN = {
    "empty": "",
    "prose": "not a program",
    "no entry point": ORDERED.replace('"entry_point"', ""),
    "no number of qubits": ORDERED.replace('"required_num_qubits"="3"', ""),
    "too many qubits": ORDERED.replace('num_qubits"="3"', 'num_qubits"="5000"'),
    "too many results": ORDERED.replace('num_results"="3"', 'num_results"="50000"'),
    "an unknown operation": ORDERED.replace("qis__x__body", "qis__wiggle__body"),
    "deep arrays": module(measure(0, 0), *[record("array", 1)] * 500, record("result", 0), RETURN),
}
BROKEN_BYTES = {name: text.encode() for name, text in BROKEN.items()} | {
    "not text": b"\xff\xfe\xfd",
    "bitcode of noise": b"BC\xc0\xde" + bytes(range(256)) * 8,
    "bitcode without an end": pyqir.Module.from_ir(pyqir.Context(), ORDERED).bitcode[:900],
}


@pytest.mark.parametrize("payload", BROKEN_BYTES.values(), ids=BROKEN_BYTES)
@pytest.mark.parametrize("target", [QVM, IONQ])
def test_a_broken_module_fails_as_invalid_input(payload: bytes, target: str) -> None:
    with pytest.raises(ProgramError) as caught:
        run(payload, target=target)
    assert caught.value.code == "InvalidInputData"
    assert shots(ORDERED, target=target) == [[1, 0, 0]] * 20


@pytest.mark.parametrize("number", ["num_qubits", "num_results"])
def test_module_that_uses_more_than_it_declares_fails_as_invalid_input(number: str) -> None:
    with pytest.raises(ProgramError) as caught:
        run(ORDERED.replace(f'{number}"="3"', f'{number}"="1"'))
    assert caught.value.code == "InvalidInputData"


def test_bitcode_with_any_byte_changed_runs_or_fails_and_the_next_job_runs() -> None:
    bitcode = pyqir.Module.from_ir(pyqir.Context(), ORDERED).bitcode
    chance = np.random.default_rng(5)
    for _ in range(60):
        changed = bytearray(bitcode)
        changed[chance.integers(4, len(changed))] = chance.integers(256)
        try:
            run(bytes(changed))
        except ProgramError:
            continue
    assert shots(bitcode) == [[1, 0, 0]] * 20


READ = f"%one = call i1 @__quantum__rt__read_result({result(0)})"
VALUE = (record("array", 1), record("result", 0))

# qdk ends an endless program by itself after a second or so, and invents what it recorded; on
# twenty qubits that second is hours.
ENDLESS = {
    "no way out": ("br label %again", "again:", gate("x", 0), "br label %again"),
    "a coin that never falls": (
        *("br label %again", "again:", measure(0, 0)),
        "%one = call i1 @__quantum__rt__read_result(%Result* null)",
        *("br i1 %one, label %end, label %again", "end:"),
        *(record("array", 1), record("result", 0), RETURN),
    ),
    "an end that is never reached": ("br label %again", "again:", "br label %again", "z:", RETURN),
    "one endless way of three": (
        *(gate("x", 0), measure(0, 0), READ, *VALUE, "br i1 %one, label %again, label %others"),
        *("again:", "br label %again", "others:", "br i1 %one, label %a, label %b"),
        *("a:", RETURN, "b:", RETURN),
    ),
    "loops in loops": (
        *("br label %outer", "outer:", "br label %inner"),
        *("inner:", "br i1 true, label %inner, label %between"),
        *("between:", "br i1 true, label %outer, label %end", "end:", *VALUE, RETURN),
    ),
}


@pytest.mark.parametrize("body", ENDLESS.values(), ids=ENDLESS)
def test_a_program_that_never_ends_fails(body: Sequence[str]) -> None:
    endless = module(*body, profile="adaptive")
    with pytest.raises(ProgramError) as caught:
        run(endless, params={"shots": 1})
    assert caught.value.code == "ProviderTimeout"


def test_a_program_with_several_ends_gives_what_it_recorded_before_them() -> None:
    branches = module(
        *(gate("x", 0), measure(0, 0), READ, "br label %records", "early:", RETURN),
        *("late:", RETURN, "records:", *VALUE, "br i1 %one, label %early, label %late"),
        profile="adaptive",
    )
    assert shots(branches) == [[1]] * 20


@pytest.mark.parametrize(
    "body",
    [
        pytest.param((*VALUE, "br label %again", "again:", "br label %again"), id="loop"),
        pytest.param(
            (
                "switch i64 1, label %x [i64 1, label %y]",
                "x:",
                gate("x", 0),
                *VALUE,
                RETURN,
                "y:",
                *VALUE,
                RETURN,
            ),
            id="switch",
        ),
    ],
)
def test_branches_in_the_base_profile_are_refused(body: Sequence[str]) -> None:
    with pytest.raises(ProgramError, match="which its profile does not allow"):
        run(module(*body))


def test_a_program_that_names_no_profile_has_the_base_profile() -> None:
    program = module(FOR_QDK, gate("x", 0), measure(0, 0), *VALUE, RETURN)
    assert shots(program.replace('"qir_profiles"="base_profile"', "")) == [[1]] * 20


def with_function(*body: str) -> str:
    """A program that calls a function of this body."""
    text = module("call void @function()", *VALUE, RETURN, profile="adaptive")
    function = "\n".join(["define void @function() {", "start:", *body, "}"])
    return text.replace("declare", f"{function}\ndeclare", 1)


def test_a_function_that_never_ends_fails() -> None:
    with pytest.raises(ProgramError) as caught:
        run(with_function("br label %again", "again:", "br label %again"))
    assert caught.value.code == "ProviderTimeout"


def test_records_in_functions_are_refused() -> None:
    with pytest.raises(ProgramError, match="elsewhere than in its entry point"):
        run(with_function(record("int", 7), RETURN))


def test_a_loop_that_ends_returns_its_recorded_results() -> None:
    fair = module(
        *("br label %again", "again:", gate("h", 0), measure(0, 0)),
        "%one = call i1 @__quantum__rt__read_result(%Result* null)",
        *("br i1 %one, label %end, label %again", "end:"),
        *(record("array", 1), record("result", 0), RETURN),
        profile="adaptive",
    )
    assert shots(fair) == [[1]] * 20


def test_a_program_that_takes_too_long_is_ended_and_the_next_one_runs() -> None:
    pool = QirPool()
    body = ENDLESS["a coin that never falls"]
    wide = module(*body, profile="adaptive").replace('num_qubits"="3"', 'num_qubits"="20"')
    with pytest.raises(ProgramError) as caught:
        pool.run(Budget(work=SECOND), qir_worker.run, wide.encode(), None, 1, 1, None)
    assert caught.value.code == "ProviderTimeout"
    assert pool.run(Budget(), qir_worker.run, ORDERED.encode(), None, 1, 1, None) == [[1, 0, 0]]


def test_time_of_every_item_counts_towards_the_budget_of_the_job() -> None:
    pool, budget = QirPool(), Budget(work=60 * SECOND)
    for _ in range(2):
        pool.run(budget, time.sleep, 0.05)
    assert budget.seconds <= 60 - 2 * 0.05


def test_records_of_all_shots_count_towards_the_budget() -> None:
    records = [record("result", 0)]
    for _ in range(4):
        records = [record("array", 10), *records * 10]
    program = module(gate("h", 0), measure(0, 0), *records, RETURN, qubits=10)
    with pytest.raises(ProgramError, match="more work than one job may"):
        run(program, params={"shots": 200_000})
    coins = [line for qubit in range(20) for line in (gate("h", qubit), measure(qubit, qubit))]
    tuples = [*[record("tuple", 1)] * 45, record("result", 0)]
    program = module(*coins, record("array", 20), *tuples * 20, RETURN, qubits=20)
    with pytest.raises(ProgramError, match="more memory than one job may"):
        run(program, params={"shots": 20_000})


def test_a_process_that_died_in_the_meantime_is_replaced() -> None:
    pool = QirPool()
    pid = pool.run(Budget(), os.getpid)
    os.kill(pid, signal.SIGTERM)
    assert pool.run(Budget(), qir_worker.run, ORDERED.encode(), None, 1, 1, None) == [[1, 0, 0]]
    assert pool.run(Budget(), os.getpid) != pid


@pytest.mark.skipif(sys.platform != "linux", reason="asks the system in the way of Linux")
def test_no_process_outlives_an_emulator_that_is_killed() -> None:
    program = """
        import os, signal
        from cirq_azure_sessions.workspaces.local.program import Budget
        from cirq_azure_sessions.emulator.programs.qir_pool import QirPool
        print(QirPool().run(Budget(), os.getpid), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    worker = int(done.stdout)

    def is_running() -> bool:
        with contextlib.suppress(FileNotFoundError):
            # Ended, and kept by the system until somebody asks.
            return "Z" not in Path(f"/proc/{worker}/stat").read_text().split()[2:3]
        return False

    wait_until(lambda: not is_running())


def test_programs_run_side_by_side() -> None:
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda seed: shots(bell(), seed=seed), range(16)))
    assert found == [shots(bell(), seed=seed) for seed in range(16)]


def recorded_jobs() -> list[Any]:
    """Recorded QIR jobs with their results, where those were fetched."""
    found = []
    for path in sorted(RECORDINGS.glob("*.json")):
        exchanges = json.loads(path.read_text())["exchanges"]
        programs_ = {
            exchange["uri"].partition("?")[0]: exchange["request"]
            for exchange in exchanges
            if exchange["method"] == "PUT" and "/inputData?" in exchange["uri"]
        }
        outputs = [
            exchange["response"]
            for exchange in exchanges
            if "/outputData?" in exchange["uri"] and exchange["status"] == 206
        ]
        for exchange in exchanges:
            job = exchange["request"]
            if isinstance(job, dict) and job.get("inputDataFormat") == "qir.v1" and outputs:
                case = (programs_[job["inputDataUri"]], job, outputs[0])
                found.append(pytest.param(*case, id=path.stem))
    return found or [
        pytest.param(None, None, None, marks=pytest.mark.skip("no ../shared/recordings"))
    ]


@pytest.mark.parametrize(("qir", "job", "recorded"), recorded_jobs())
def test_a_recorded_job_gives_the_recorded_result(
    qir: str, job: dict[str, Any], recorded: dict[str, Any]
) -> None:
    """Exactly where the service's simulator is exact, and else but for the values drawn."""
    document = run(qir, target=job["target"], params=job["inputParams"])
    if job["target"] == IONQ:
        assert document == recorded
    else:
        assert forms(document) == forms(recorded)


def forms(value: Any) -> Any:
    """A document with the types of its values in their place, and of each list its first entry."""
    if isinstance(value, dict):
        return {name: forms(item) for name, item in value.items()}
    if isinstance(value, list):
        return [forms(item) for item in value[:1]]
    return type(value)
