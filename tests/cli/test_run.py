"""The command `run`: what it prints, how it refuses, and what it says when it is interrupted."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cirq
import pandas as pd
import pytest
import sympy
from click.testing import CliRunner, Result
from command_line import BELL, NEEDS_FULL_DISK, connection
from services import wait_until

from cirq_azure_sessions import SessionPool
from cirq_azure_sessions.cli import main, tables
from cirq_azure_sessions.emulator import EmulatorServer


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def bell(tmp_path: Path) -> Path:
    path = tmp_path / "bell.qasm"
    path.write_text(BELL)
    return path


@pytest.fixture
def rotation(tmp_path: Path) -> Path:
    """A circuit whose probability of a one is sin(theta / 2) ** 2."""
    qubit = cirq.LineQubit(0)
    theta = sympy.Symbol("theta")
    path = tmp_path / "rotation.json"
    cirq.to_json(cirq.Circuit(cirq.rx(theta)(qubit), cirq.measure(qubit, key="m")), path)
    return path


def test_a_run_prints_a_histogram(bell: Path) -> None:
    shown = call("run", bell, "--repetitions", 100, "--seed", 3)
    assert shown.exit_code == 0
    header, *rows = shown.stdout.splitlines()
    assert header.split() == ["c_0", "c_1", "count", "fraction"]
    assert sorted(row.split()[0] for row in rows) == ["0", "1"]
    assert sum(int(row.split()[2]) for row in rows) == 100


def test_sweep_prints_one_row_per_point(rotation: Path) -> None:
    shown = call("run", rotation, "--sweep", "theta=0:3.141592653589793:3")
    assert shown.exit_code == 0
    header, *rows, caption = shown.stdout.splitlines()
    assert header.split() == ["theta", "0", "1"]
    assert [row.split()[0] for row in rows] == ["0", "1.5708", "3.14159"]
    assert rows[0].split()[1:] == ["1.0000", "0.0000"]
    assert rows[2].split()[1:] == ["0.0000", "1.0000"]
    assert caption == "Fractions of the outcomes of m."


def test_json_holds_every_outcome_of_every_point(rotation: Path) -> None:
    shown = call("run", rotation, "--sweep", "theta=0:3.141592653589793:2", "-r", 50, "--json")
    answer = json.loads(shown.stdout)
    assert answer["target"] == "local.simulator"
    assert answer["keys"] == ["m"]
    assert [point["params"]["theta"] for point in answer["points"]] == [0, math.pi]
    assert [point["counts"] for point in answer["points"]] == [{"0": 50}, {"1": 50}]


def test_several_sweeps_give_all_combinations(tmp_path: Path) -> None:
    a, b = cirq.LineQubit.range(2)
    circuit = cirq.Circuit(
        cirq.X(a) ** sympy.Symbol("x"), cirq.X(b) ** sympy.Symbol("y"), cirq.measure(a, b)
    )
    cirq.to_json(circuit, tmp_path / "xy.json")
    shown = call("run", tmp_path / "xy.json", "--sweep", "x=0:1:2", "--sweep", "y=0:1:2", "--json")
    points = json.loads(shown.stdout)["points"]
    assert [list(point["counts"]) for point in points] == [["00"], ["01"], ["10"], ["11"]]


def test_the_same_seed_draws_the_same_samples(rotation: Path) -> None:
    command = ("run", rotation, "--sweep", "theta=1:2:3", "--seed", 7, "--json")
    first, second = (json.loads(call(*command).stdout)["points"] for _ in range(2))
    assert [point["counts"] for point in first] == [point["counts"] for point in second]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("0:2*pi:3", [0, math.pi, 2 * math.pi]),
        ("-pi/4,1e-3,+2.5,pi-1", [-math.pi / 4, 1e-3, 2.5, math.pi - 1]),
        ("1e1:20:1", [10]),
        ("0:9:1e1", list(range(10))),
        ("0.5", [0.5]),
    ],
)
def test_values_of_a_sweep_are_numbers_and_arithmetic_with_pi(
    values: str, expected: list[float], rotation: Path
) -> None:
    shown = call("run", rotation, "--sweep", f"theta={values}", "--shots", 1, "--json")
    points = json.loads(shown.stdout)["points"]
    assert [point["params"]["theta"] for point in points] == pytest.approx(expected)


@pytest.mark.parametrize("number", ["1e2", "100", "100.0"])
def test_a_whole_number_may_have_an_exponent(number: str, bell: Path) -> None:
    (point,) = json.loads(call("run", bell, "--shots", number, "--json").stdout)["points"]
    assert sum(point["counts"].values()) == 100


def test_a_dash_is_standard_input() -> None:
    shown = CliRunner().invoke(main, ["run", "-", "--shots", "7", "--json"], input=BELL)
    assert json.loads(shown.stdout)["points"][0]["repetitions"] == 7


def test_results_are_written_and_drawn_in_files(rotation: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"results{ending}" for ending in (".json", ".csv", ".png")]
    outputs = [word for file in files for word in ("-o", file)]
    for _ in range(2):
        shown = call("run", rotation, "--sweep", "theta=0:pi:3", "--json", *outputs)
        assert shown.exit_code == 0, shown.output
        assert files[0].read_text() == shown.stdout
        frame = pd.read_csv(files[1])
        assert frame["theta"].tolist() == pytest.approx([0, math.pi / 2, math.pi])
        assert frame["0"].tolist()[0] == frame["1"].tolist()[2] == 1000
        assert files[2].read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("symbol", "column"), [("@SUM(1)", "'@SUM(1)"), ("\ud83d", r"\ud83d"), ('a"b,\nc', 'a"b,\nc')]
)
def test_a_symbol_of_any_name_is_text_in_a_table(symbol: str, column: str, tmp_path: Path) -> None:
    qubit = cirq.LineQubit(0)
    turn = cirq.Circuit(cirq.X(qubit) ** sympy.Symbol(symbol), cirq.measure(qubit, key="m"))
    cirq.to_json(turn, tmp_path / "turn.json")
    table = tmp_path / "results.csv"
    shown = call("run", tmp_path / "turn.json", "--sweep", f"{symbol}=0:1:2", "-o", table)
    assert shown.exit_code == 0, shown.output
    assert pd.read_csv(table)[column].tolist() == [0, 1]


def test_zero_repetitions_print_an_empty_histogram(bell: Path) -> None:
    shown = call("run", bell, "--repetitions", 0)
    assert shown.exit_code == 0
    assert len(shown.stdout.splitlines()) == 1


WRONG = {
    "no such file": (["nowhere.json"], "does not exist"),
    "no circuit": (["{text}"], "neither Cirq JSON nor OpenQASM 2"),
    "broken program": (["{broken}"], "nosuchgate"),
    "no measurement": (["{unmeasured}"], "measure"),
    "unresolved symbol": (["{rotation}"], "--sweep theta=VALUES"),
    "unknown symbol": (
        ["{rotation}", "--sweep", "theta=1", "--sweep", "phi=0:1:2"],
        "no parameter phi, only theta",
    ),
    "sweep of nothing": (["{bell}", "--sweep", "phi=0:1:2"], "no parameters: leave out --sweep"),
    "malformed sweep": (["{rotation}", "--sweep", "theta=0..1"], "theta=0:2*pi:50"),
    "empty sweep": (["{rotation}", "--sweep", "theta=0:1:0"], "at least one point"),
    "sweep to nowhere": (["{rotation}", "--sweep", "theta=nan:1:3"], "finite numbers"),
    "sweep without end": (["{rotation}", "--sweep", "theta=0:inf:3"], "finite numbers"),
    "sweep that is a program": (["{rotation}", "--sweep", "theta=exit()"], "theta=0:2*pi:50"),
    "sweep by powers": (["{rotation}", "--sweep", "theta=9**9**9"], "theta=0:2*pi:50"),
    "sweep by zero": (["{rotation}", "--sweep", "theta=pi/0"], "theta=0:2*pi:50"),
    "file of no kind": (["{bell}", "-o", "results.txt"], "must end in one of .json"),
    "picture of one point": (["{bell}", "-o", "results.png"], "add --sweep"),
    "somebody's file": (["{bell}", "-o", "{foreign}"], "already exists"),
    "sweep given twice": (["{rotation}"] + ["--sweep", "theta=0:1:2"] * 2, "twice"),
    "misspelt symbol": (["{rotation}", "--sweep", "phi=1"], "no parameter phi, only theta"),
    "part of a point": (["{rotation}", "--sweep", "theta=0:1:2.5"], "theta=0:2*pi:50"),
    "negative repetitions": (["{bell}", "--repetitions", "-1"], "-1 is too small: give at least 0"),
    "part of a shot": (["{bell}", "--shots", "1.5"], "'1.5' is not a whole number"),
    "endless shots": (["{bell}", "--shots", "1e999"], "'1e999' is not a whole number"),
    "no time": (["{bell}", "--timeout", "0"], "0 is too small: give more than 0"),
    "time with a unit": (["{bell}", "--timeout", "5m"], "'5m' is not a number of seconds"),
    "cost that is no number": (["{bell}", "--max-cost", "nan"], "'nan' is not a number"),
    "empty name": (["{bell}", "--name", ""], "The value is empty"),
    "unknown local target": (["{bell}", "--target", "local.nonsense"], "local.nonsense"),
    "no workspace": (["{bell}", "--target", "ionq.simulator"], "--resource-id"),
}


@pytest.mark.parametrize(("arguments", "told"), WRONG.values(), ids=WRONG)
def test_invalid_input_gets_one_sentence_and_exit_code_2(
    arguments: list[str], told: str, bell: Path, rotation: Path, tmp_path: Path
) -> None:
    files = {
        "bell": bell,
        "rotation": rotation,
        "text": tmp_path / "notes.txt",
        "broken": tmp_path / "broken.qasm",
        "unmeasured": tmp_path / "unmeasured.json",
    }
    files["text"].write_text("Remember the milk.")
    files["foreign"] = tmp_path / "foreign.csv"
    files["foreign"].write_text("name,age\nAda,36\n")
    files["broken"].write_text(BELL.replace("h q[0]", "nosuchgate q[0]"))
    cirq.to_json(cirq.Circuit(cirq.X(cirq.LineQubit(0))), files["unmeasured"])
    shown = call("run", *(argument.format(**files) for argument in arguments))
    assert shown.exit_code == 2
    assert shown.stdout == ""
    *_, sentence = shown.stderr.splitlines()
    assert sentence.startswith("Error: ")
    assert told in sentence
    assert "Traceback" not in shown.stderr


# On an emulated workspace


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatorServer]:
    with EmulatorServer() as server:
        yield server


def test_a_run_on_the_emulator_goes_through_the_sdk(bell: Path, emulator: EmulatorServer) -> None:
    arguments = ("--target", "quantinuum.sim.h2-1sc", *connection(emulator), "--json")
    (point,) = json.loads(call("run", bell, *arguments).stdout)["points"]
    workspace = emulator.workspace()
    assert workspace.get_job(point["job_id"]).details.session_id == point["session_id"]
    assert workspace.get_session(point["session_id"]).details.status == "Succeeded"


def test_wrong_key_exits_with_1(bell: Path, emulator: EmulatorServer) -> None:
    arguments = ("--emulator", emulator.endpoint, "--emulator-key", "wrong")
    shown = call("run", bell, "--target", "ionq.simulator", *arguments)
    assert (shown.stdout, shown.exit_code) == ("", 1)
    (sentence,) = shown.stderr.splitlines()
    assert sentence.startswith("Error: ")
    assert "401" in sentence


def test_the_key_may_be_in_the_environment(
    bell: Path, emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("--target", "ionq.simulator", "--emulator", emulator.endpoint)
    shown = call("run", bell, *arguments)
    assert shown.exit_code == 2
    assert "An emulator needs a key" in shown.stderr
    monkeypatch.setenv("CIRQ_AZURE_SESSIONS_EMULATOR_KEY", emulator.key)
    assert call("run", bell, *arguments).exit_code == 0


@pytest.mark.parametrize("address", ["8080", "127.0.0.1", "ftp://127.0.0.1:80", "a:b", "h:99999"])
def test_an_address_that_no_emulator_has_is_a_usage_error(address: str, bell: Path) -> None:
    arguments = ("--target", "ionq.simulator", "--emulator", address, "--emulator-key", "key")
    shown = call("run", bell, *arguments)
    assert shown.exit_code == 2
    assert "give the address that the emulator printed" in shown.stderr


def test_an_emulator_that_does_not_run_is_reported_before_cirq_is_imported(
    rotation: Path,
) -> None:
    program = """
import sys
from cirq_azure_sessions.cli import main
try:
    main(sys.argv[1:])
finally:
    print("cirq" in sys.modules)
"""
    # Nothing listens there.
    connection = ("--emulator", "127.0.0.1:1", "--emulator-key", "key")
    arguments = ("run", str(rotation), "--sweep", "theta=0:pi:3", "--target", "ionq.simulator")
    ran = subprocess.run(
        [sys.executable, "-c", program, *arguments, *connection], capture_output=True, text=True
    )
    assert ran.returncode == 1
    assert ran.stdout.split() == ["False"]
    assert ran.stderr == (
        "Error: Nothing listens on 127.0.0.1:1: is `cirq-azure-sessions emulate` running?\n"
    )


def test_an_emulator_is_known_by_its_host_and_port_too(
    bell: Path, emulator: EmulatorServer
) -> None:
    address = emulator.endpoint.removeprefix("http://")
    arguments = ("--emulator", address, "--emulator-key", emulator.key)
    assert call("run", bell, "--target", "ionq.simulator", *arguments).exit_code == 0


def test_finished_points_are_printed_before_the_error(
    rotation: Path, emulator: EmulatorServer
) -> None:
    emulator.faults.fail_job(code="InvalidInputData")
    arguments = ("--target", "ionq.simulator", *connection(emulator), "--json")
    shown = call("run", rotation, "--sweep", "theta=0:3:4", *arguments)
    assert shown.exit_code == 1
    assert len(json.loads(shown.stdout)["points"]) == 3
    assert shown.stderr.startswith("Error: 1 of 4 points failed: ")
    assert "InvalidInputData" in shown.stderr


# Interrupted


@contextmanager
def running(server: EmulatorServer, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """`run` in a process of its own, once the service has accepted its jobs."""
    command = [sys.executable, "-m", "cirq_azure_sessions", "run", *map(str, arguments)]
    with subprocess.Popen(
        [*command, "--target", "ionq.simulator", *connection(server)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_until(lambda: server.requests["submit"] == POINTS)
            # It looks at jobs once it knows that they are accepted.
            wait_until(lambda: server.requests["poll"] >= POINTS)
            yield process
        finally:
            process.kill()


POINTS = 3
SWEEP = ("--sweep", f"theta=1:2:{POINTS}")


@pytest.fixture
def slow_server() -> Iterator[EmulatorServer]:
    """A workspace whose jobs do not finish by themselves."""
    with EmulatorServer(job_time=3600.0) as server:
        yield server


# That of a terminal that is closed, where the system has it.
_HANG_UP = getattr(signal, "SIGHUP", signal.SIGTERM)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (_HANG_UP, 128 + _HANG_UP)])
def test_an_interruption_names_running_jobs_and_how_to_fetch_or_cancel_them(
    number: signal.Signals, code: int, rotation: Path, slow_server: EmulatorServer
) -> None:
    with running(slow_server, rotation, *SWEEP) as process:
        process.send_signal(number)
        printed, told = process.communicate()
    assert (printed, process.returncode) == ("", code)
    assert "Interrupted." in told
    assert "Aborted" not in told
    assert "Traceback" not in told
    jobs = slow_server.workspace().list_jobs()
    assert len(jobs) == POINTS
    assert all(job.id in told for job in jobs)
    assert {job.details.status for job in jobs} == {"Executing"}
    for command in ("jobs result ID", "jobs cancel ID..."):
        assert f"cirq-azure-sessions {command}" in told


def test_an_interrupted_run_is_cancelled_by_its_journal(
    rotation: Path, slow_server: EmulatorServer, tmp_path: Path
) -> None:
    journal = tmp_path / "run.journal"
    with running(slow_server, rotation, *SWEEP, "--journal", journal) as process:
        process.send_signal(signal.SIGINT)
        _, told = process.communicate()
    assert f"with the journal {journal}" in told
    assert f"cirq-azure-sessions jobs cancel --journal {journal}" in told
    shown = call("jobs", "cancel", "--journal", journal, *connection(slow_server))
    assert shown.exit_code == 0
    jobs = slow_server.workspace().list_jobs()
    assert [job.details.status for job in jobs] == ["Cancelled"] * POINTS


def test_run_cancels_its_jobs_on_request(rotation: Path, slow_server: EmulatorServer) -> None:
    with running(slow_server, rotation, *SWEEP, "--on-interrupt", "cancel") as process:
        process.send_signal(signal.SIGINT)
        process.communicate()
    jobs = slow_server.workspace().list_jobs()
    assert [job.details.status for job in jobs] == ["Cancelled"] * POINTS


def test_an_interruption_while_results_are_printed_names_their_jobs(
    rotation: Path, emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tables, "results_table", interrupted)
    ionq = ("--target", "ionq.simulator", *connection(emulator))
    before = {job.id for job in emulator.workspace().list_jobs()}
    shown = call("run", rotation, *SWEEP, *ionq)
    assert shown.exit_code == 130
    jobs = {job.id for job in emulator.workspace().list_jobs()} - before
    assert len(jobs) == POINTS
    assert all(job_id in shown.stderr for job_id in jobs)
    assert "cirq-azure-sessions jobs result ID" in shown.stderr


def test_an_interruption_while_the_session_is_closed_loses_no_result(
    rotation: Path, emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = SessionPool.__exit__

    def interrupted(pool: SessionPool, *exc_info: Any) -> None:
        close(pool, *exc_info)
        raise KeyboardInterrupt

    monkeypatch.setattr(SessionPool, "__exit__", interrupted)
    ionq = ("--target", "ionq.simulator", *connection(emulator))
    shown = call("run", rotation, *SWEEP, *ionq)
    assert shown.exit_code == 130
    assert "Fractions of the outcomes of m" in shown.stdout


def test_a_second_interruption_does_not_hide_running_jobs(
    rotation: Path, emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = SessionPool.__exit__

    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    def interrupted_again(pool: SessionPool, *exc_info: Any) -> None:
        close(pool, *exc_info)
        raise KeyboardInterrupt

    monkeypatch.setattr(tables, "results_table", interrupted)
    monkeypatch.setattr(SessionPool, "__exit__", interrupted_again)
    ionq = ("--target", "ionq.simulator", *connection(emulator))
    before = {job.id for job in emulator.workspace().list_jobs()}
    shown = call("run", rotation, "--sweep", "theta=1", *ionq)
    assert shown.exit_code == 130
    [job_id] = {job.id for job in emulator.workspace().list_jobs()} - before
    assert job_id in shown.stderr


# Files of results


def test_an_output_that_cannot_be_written_is_refused_before_anything_is_submitted(
    bell: Path, emulator: EmulatorServer, tmp_path: Path
) -> None:
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    (tmp_path / "link.json").symlink_to("run.json")
    ionq = ("--target", "ionq.simulator", *connection(emulator))
    before = sorted(tmp_path.iterdir()), emulator.requests.total
    for options, words in (
        (["-o", tmp_path / "nowhere" / "x.json"], "No such file or directory"),
        (["-o", bell / "x.csv"], "cannot be used"),
        (["-o", tmp_path / "loop.csv"], "symbolic links"),
        (["-o", tmp_path / "run.json", "--journal", tmp_path / "run.json"], "is the --journal"),
        (["-o", tmp_path / "link.json", "--journal", tmp_path / "run.json"], "is the --journal"),
    ):
        refused = call("run", bell, *ionq, *options)
        assert refused.exit_code in (1, 2)
        assert words in refused.stderr
    assert (sorted(tmp_path.iterdir()), emulator.requests.total) == before


@NEEDS_FULL_DISK
def test_failed_output_loses_no_other_output(bell: Path, tmp_path: Path) -> None:
    full, kept = tmp_path / "full.csv", tmp_path / "kept.json"
    full.symlink_to("/dev/full")
    words = [sys.executable, "-m", "cirq_azure_sessions", "run", bell, "-o", full, "-o", kept]
    with Path("/dev/full").open("w") as stdout:
        child = subprocess.run(words, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)
    assert (child.returncode, child.stderr.count("\n")) == (1, 1)
    assert "(No space left on device)" in child.stderr
    assert json.loads(kept.read_text())["target"] == "local.simulator"


@NEEDS_FULL_DISK
@pytest.mark.parametrize("with_journal", [False, True])
def test_results_that_cannot_be_printed_are_named(
    bell: Path, tmp_path: Path, emulator: EmulatorServer, with_journal: bool
) -> None:
    words = ["run", bell, "--target", "ionq.simulator", *connection(emulator)]
    if with_journal:
        words += ["--journal", tmp_path / "run.journal"]
    with Path("/dev/full").open("w") as stdout:
        child = subprocess.run(
            [sys.executable, "-m", "cirq_azure_sessions", *map(str, words)],
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert child.returncode == 1
    job = emulator.workspace().list_jobs()[-1]
    assert (str(tmp_path / "run.journal") if with_journal else job.id) in child.stderr
    assert "`cirq-azure-sessions jobs result ID` prints the result" in child.stderr


# A journal, a name and a timeout


def test_a_second_run_with_the_journal_submits_nothing(
    rotation: Path, emulator: EmulatorServer, tmp_path: Path
) -> None:
    command = ("run", rotation, *SWEEP, "--json", "--journal", tmp_path / "run.journal")
    words = (*command, "--target", "ionq.simulator", *connection(emulator))
    first = json.loads(call(*words).stdout)
    before = emulator.requests["submit"]
    second = json.loads(call(*words).stdout)
    assert emulator.requests["submit"] == before
    ids = [[point["job_id"] for point in answer["points"]] for answer in (first, second)]
    assert ids[0] == ids[1]


def test_a_named_run_joins_the_open_session_of_its_name(
    bell: Path, emulator: EmulatorServer
) -> None:
    words = ("--target", "ionq.simulator", *connection(emulator), "--json")
    with SessionPool(emulator.workspace(), name="calibration") as pool:
        session = pool.session("ionq.simulator")
        (point,) = json.loads(call("run", bell, "--name", "calibration", *words).stdout)["points"]
    assert point["session_id"] == session.id


def test_a_timeout_names_the_jobs_that_run_on(bell: Path, slow_server: EmulatorServer) -> None:
    words = ("--target", "ionq.simulator", *connection(slow_server), "--timeout", 0.5)
    shown = call("run", bell, *words)
    assert shown.exit_code == 1
    (job,) = slow_server.workspace().list_jobs()
    assert job.id in shown.stderr
