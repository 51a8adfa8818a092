"""The commands that submit programs, open sessions and wait for jobs."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import cirq
import click
import pytest
from click.testing import Result
from command_line import NEEDS_FULL_DISK, call_on, connection

from cirq_azure_sessions.cli import main
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.workspaces.azure import programs

QUIL = "DECLARE ro BIT[1]\nX 0\nMEASURE 0 ro[0]\n"
QASM_2 = 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[1];\ncreg c[1];\nx q[0];\nmeasure q -> c;\n'
QASM_3 = 'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit q;\nbit c;\nx q;\nc = measure q;\n'
QSHARP = "operation Flip(n : Int) : Result { use q = Qubit(); if n > 0 { X(q); } MResetZ(q) }\n"


@pytest.fixture
def server() -> Iterator[EmulatorServer]:
    with EmulatorServer() as server:
        yield server


def write(folder: Path, name: str, program: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(program if isinstance(program, bytes) else program.encode())
    return path


def submit(server: EmulatorServer, path: Path, target: str, *options: str) -> str:
    shown = call_on(server, "jobs", "submit", path, "--target", target, *options)
    assert shown.exit_code == 0, shown.output
    return shown.stdout.strip()


def result_of(server: EmulatorServer, job_id: str) -> Any:
    waited = call_on(server, "jobs", "wait", job_id[:8], "--json")
    assert waited.exit_code == 0, waited.output
    return json.loads(call_on(server, "jobs", "result", job_id, "--json").stdout)


def test_quil_runs_on_rigetti(server: EmulatorServer, tmp_path: Path) -> None:
    path = write(tmp_path, "flip.quil", QUIL)
    job_id = submit(server, path, "rigetti.sim.qvm", "--shots", "2")
    assert result_of(server, job_id) == {"ro": [[1], [1]]}


@NEEDS_FULL_DISK
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_the_id_of_a_submitted_job_is_in_the_error_if_the_output_is_full(
    server: EmulatorServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: list[str]
) -> None:
    path = str(write(tmp_path, "flip.quil", QUIL))
    words = ["jobs", "submit", path, "--target", "rigetti.sim.qvm", *form, *connection(server)]
    with open("/dev/full", "w", encoding="utf-8") as full:
        monkeypatch.setattr("sys.stdout", full)
        with pytest.raises(click.ClickException) as caught:
            main(words, standalone_mode=False)
        monkeypatch.undo()
        # What could not be written is dropped: closing the file would fail too.
        with suppress(OSError):
            full.close()
    (job,) = server.workspace().list_jobs()
    assert f"Job {job.id} was submitted" in " ".join(caught.value.format_message().split())


def test_a_hyphen_reads_standard_input(server: EmulatorServer) -> None:
    words = ("jobs", "submit", "-", "--target", "rigetti.sim.qvm", "--shots", "2")
    shown = call_on(server, *words, answer=QUIL)
    assert shown.exit_code == 0, shown.output
    assert result_of(server, shown.stdout.strip()) == {"ro": [[1], [1]]}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_windows_file_is_recognized_by_its_content(
    server: EmulatorServer, tmp_path: Path, encoding: str
) -> None:
    path = write(tmp_path, "flip.qasm", QASM_2.replace("\n", "\r\n").encode(encoding))
    job_id = submit(server, path, "quantinuum.sim.h2-1sc", "--yes")
    job = server.workspace().get_job(job_id)
    assert job.download_data(job.details.input_data_uri).startswith(b"OPENQASM 2.0;")


@pytest.mark.parametrize("line_end", ["\r\n", "\r"], ids=["crlf", "cr"])
@pytest.mark.parametrize("target", ["quantinuum.sim.h2-1sc", "ionq.simulator"])
def test_openqasm_of_old_editors_runs(
    server: EmulatorServer, tmp_path: Path, line_end: str, target: str
) -> None:
    program = ("// café\n" + QASM_2 + "\x1a").replace("\n", line_end)
    path = write(tmp_path, "flip.qasm", program.encode("cp1252"))
    assert result_of(server, submit(server, path, target, "--shots", "5", "--yes"))


def test_text_is_sent_as_unix_writes_it(server: EmulatorServer, tmp_path: Path) -> None:
    path = write(tmp_path, "flip.quil", (QUIL.replace("\n", "\r\n") + "\x1a\0").encode("utf-16"))
    job = server.workspace().get_job(submit(server, path, "rigetti.sim.qvm"))
    assert job.download_data(job.details.input_data_uri).decode() == QUIL


@pytest.mark.parametrize(
    ("name", "program", "reason"),
    [
        (
            "a.qasm",
            QASM_3.replace("x q", "wobble q"),
            "Line 5, column 1: undefined symbol: wobble.",
        ),
        (
            "a.qasm",
            QASM_3.replace('include "stdgates.inc";', ""),
            "Line 5, column 1: A standard gate was called but not included. Did you mean to "
            "include the standard gate library 'stdgates.inc'?\n",
        ),
        (
            "a.qasm",
            QASM_3 + "if (c) { x q; }",
            "Line 7, column 1: cannot use a dynamic bool value. Using a bool value that depends on "
            "a measurement result is not supported by the configured target profile.\n",
        ),
        (
            "a.qasm",
            "// größer\n" + QASM_3 + "bit[2] d; /* d: */ if (d == 2) { x q; }",
            "Line 8, column 24: qdk would read these bits in reverse order. ",
        ),
        ("a.qs", QSHARP, "Main(): column 1: name error: `Main` not found.\n"),
        ("a.qs", "\n operation Main() : Int { true }", "Line 2, column 27: type error: expected "),
    ],
)
def test_what_qdk_cannot_compile_is_explained_in_one_line(
    server: EmulatorServer, tmp_path: Path, name: str, program: str, reason: str
) -> None:
    pytest.importorskip("qdk")
    shown = refused(server, write(tmp_path, name, program), "--target", "ionq.simulator")
    *_, line = shown.stderr.splitlines(keepends=True)
    assert line.startswith(f"Error: qdk cannot compile {name} for ionq.simulator. {reason}")


@pytest.mark.parametrize("size", ["1_000_000", "n * n"])
def test_what_qdk_would_compile_without_end_is_refused(
    server: EmulatorServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    pytest.importorskip("qdk")
    monkeypatch.setattr(programs, "_COMPILE_TIMEOUT", 1)
    program = QASM_3.replace("qubit q", f"const int n = 1000; qubit[{size}] q")
    path = write(tmp_path, "huge.qasm", program)
    assert "takes more than 1 s" in refused(server, path, "--target", "ionq.simulator").stderr


def test_a_damaged_file_is_refused(server: EmulatorServer, tmp_path: Path) -> None:
    path = write(tmp_path, "flip.qasm.gz", gzip.compress(QASM_2.encode())[:-9])
    shown = call_on(server, "jobs", "submit", path, "--target", "quantinuum.sim.h2-1sc", "--yes")
    assert shown.exit_code == 2
    assert "gzip file is damaged" in shown.stderr


def test_openqasm_2_is_sent_unchanged_to_targets_that_take_it(
    server: EmulatorServer, tmp_path: Path
) -> None:
    path = write(tmp_path, "flip.qasm", QASM_2)
    job_id = submit(server, path, "quantinuum.sim.h2-1sc", "--yes")
    job = server.workspace().get_job(job_id)
    assert job.details.input_data_format == "honeywell.openqasm.v1"
    assert job.details.name == "flip.qasm"


@pytest.mark.parametrize(
    ("name", "program", "options"),
    [
        ("flip3.qasm", QASM_3, []),
        ("flip.qs", QSHARP, ["--entry", "Flip(1)"]),
    ],
)
def test_other_languages_are_compiled_to_qir(
    server: EmulatorServer, tmp_path: Path, name: str, program: str, options: list[str]
) -> None:
    pytest.importorskip("qdk")
    path = write(tmp_path, name, program)
    job_id = submit(server, path, "ionq.simulator", "--shots", "10", *options)
    assert server.workspace().get_job(job_id).details.input_data_format == "qir.v1"
    (fraction,) = result_of(server, job_id).values()
    assert fraction == 1.0


HEAD = 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[3];\ncreg c[3];\n'
AT_END = {
    "a bit that is never measured": "x q[0]; measure q[0] -> c[1];",
    "bits in another order": "x q[0]; measure q[0] -> c[2]; measure q[1] -> c[0];",
    "an unmeasured qubit": "x q[1]; x q[2]; measure q[1] -> c[1];",
    "a second register": "creg d[2]; x q[2]; measure q[2] -> d[0]; measure q[1] -> c[2];",
    "a gate of gates": "gate f a, b { x a; cx a, b; } gate g a, b { f b, a; } g q[0], q[2]; "
    "measure q -> c;",
    "registers at once": "qreg r[3]; creg e[3]; x q; cx q, r; barrier q, r; measure r -> e;",
    "arithmetic in angles": "u3(2*pi/2, -pi^2*0, ln(exp(0))) q[0]; measure q -> c;",
}
IN_BETWEEN = {
    "a bit measured twice": "x q[0]; measure q[0] -> c[0]; x q[0]; measure q[0] -> c[0];",
    "a condition on a register": "x q[1]; measure q -> c; if (c==2) x q[0]; "
    "creg d[1]; measure q[0] -> d[0];",
    "a condition that never holds": "x q[0]; if (c==8) x q[0]; measure q -> c;",
    "a bit overwritten after its condition": "x q[0]; measure q[0] -> c[0]; if (c==1) x q[1]; "
    "reset q[0]; measure q[0] -> c[0]; measure q[1] -> c[1];",
    "a conditional measurement": "x q; measure q[0] -> c[0]; if (c==1) measure q[1] -> c[1]; "
    "if (c==0) measure q[2] -> c[2];",
}


@pytest.mark.parametrize(
    ("target", "body"),
    [
        *(pytest.param("ionq.simulator", body, id=name) for name, body in AT_END.items()),
        *(
            pytest.param("rigetti.sim.qvm", body, id=f"{name} (QIR)")
            for name, body in (AT_END | IN_BETWEEN).items()
        ),
    ],
)
def test_openqasm_2_is_interpreted_as_by_run(
    server: EmulatorServer, tmp_path: Path, target: str, body: str
) -> None:
    """The programs are classical, so that equal distributions are equal counts."""
    if target.startswith("rigetti"):
        pytest.importorskip("qdk")
    path = write(tmp_path, "program.qasm", (HEAD + body).encode("utf-16"))
    job_id = submit(server, path, target, "--shots", "7")
    (submitted,) = result_of(server, job_id)["points"]
    shown = call_on(server, "run", path, "--target", target, "--shots", "7", "--json")
    assert shown.exit_code == 0, shown.output
    (ran,) = json.loads(shown.stdout)["points"]
    assert submitted["counts"] == ran["counts"]
    assert submitted["repetitions"] == 7


def test_translated_openqasm_2_has_as_many_shots_as_a_run(
    server: EmulatorServer, tmp_path: Path
) -> None:
    path = write(tmp_path, "flip.qasm", QASM_2)
    details = server.workspace().get_job(submit(server, path, "ionq.simulator")).details
    assert details.input_data_format == "ionq.circuit.v1"
    assert details.input_params["shots"] == 1000


def test_bitcode_and_parameters_are_sent_as_given(server: EmulatorServer, tmp_path: Path) -> None:
    path = write(tmp_path, "program.bc", b"BC\xc0\xde and more")
    params = ["--param", "entryPoint=flip", "--param", "arguments=[1]"]
    job_id = submit(server, path, "ionq.simulator", *params, "--name", "mine")
    details = server.workspace().get_job(job_id).details
    assert (details.name, details.input_data_format) == ("mine", "qir.v1")
    assert details.input_params["entryPoint"] == "flip"
    assert details.input_params["arguments"] == [1]


def test_formats_that_are_named_are_sent(server: EmulatorServer, tmp_path: Path) -> None:
    path = write(tmp_path, "flip.txt", QUIL)
    formats = ["--input-format", "my.program.v1", "--output-format", "my.results.v1"]
    details = server.workspace().get_job(submit(server, path, "rigetti.sim.qvm", *formats)).details
    assert (details.input_data_format, details.output_data_format) == (
        "my.program.v1",
        "my.results.v1",
    )


def test_commands_share_one_session_until_it_times_out(tmp_path: Path) -> None:
    path = write(tmp_path, "flip.quil", QUIL)
    with EmulatorServer() as server:
        opened = call_on(server, "sessions", "open", "--target", "rigetti.sim.qvm").stdout.strip()

        def session_of_next_job() -> str:
            job_id = submit(server, path, "rigetti.sim.qvm")
            session_id: str = server.workspace().get_job(job_id).details.session_id
            return session_id

        assert [session_of_next_job(), session_of_next_job()] == [opened, opened]
        server.clock.advance(601)
        assert session_of_next_job() != opened


def test_a_session_is_opened_by_name_and_policy(server: EmulatorServer) -> None:
    options = ["--target", "ionq.simulator", "--name", "mine", "--policy", "abort"]
    shown = json.loads(call_on(server, "sessions", "open", *options, "--json").stdout)
    assert (shown["name"], shown["status"]) == ("mine", "Waiting")
    assert shown["job_failure_policy"] == "Abort"
    again = call_on(server, "sessions", "open", *options[:4])
    assert again.stdout.strip() == shown["id"]
    assert again.stderr == "It is already open, with policy Abort.\n"


def test_no_session_is_opened_that_would_end_with_the_command(server: EmulatorServer) -> None:
    refused = call_on(server, "sessions", "open", "--target", "local.simulator")
    assert refused.exit_code == 2
    assert "name a target of the workspace" in refused.stderr


def test_waiting_for_a_failed_job_exits_with_1(server: EmulatorServer, tmp_path: Path) -> None:
    job_id = submit(server, write(tmp_path, "flip.quil", "garbage"), "rigetti.sim.qvm")
    waited = call_on(server, "jobs", "wait", job_id)
    assert waited.exit_code == 1
    assert "Failed" in waited.stdout


def test_waiting_reports_the_timeout(tmp_path: Path) -> None:
    with EmulatorServer(job_time=3600) as server:
        job_id = submit(server, write(tmp_path, "flip.quil", QUIL), "rigetti.sim.qvm")
        waited = call_on(server, "jobs", "wait", job_id, "--timeout", "0.25")
    assert waited.exit_code == 1
    assert "has not finished within 0.25 s" in waited.stderr


def refused(server: EmulatorServer, *arguments: object) -> Result:
    """A wrong command, after which nothing was opened or submitted."""
    shown = call_on(server, "jobs", "submit", *arguments)
    assert shown.exit_code == 2, shown.output
    assert list(server.workspace().list_sessions()) == []
    return shown


def test_chargeable_jobs_need_yes(server: EmulatorServer, tmp_path: Path) -> None:
    path = write(tmp_path, "flip.quil", QUIL)
    shown = refused(server, path, "--target", "rigetti.qpu.ankaa-3")
    assert "A job on rigetti.qpu.ankaa-3 may cost money: add --yes" in shown.stderr


def test_wrong_programs_and_targets_are_refused_before_a_session_is_opened(
    server: EmulatorServer, tmp_path: Path
) -> None:
    pytest.importorskip("qdk")
    on_ionq = ("--target", "ionq.simulator")
    assert "is empty" in refused(server, write(tmp_path, "a.quil", ""), *on_ionq).stderr
    comments = write(tmp_path, "comments.qasm", "// x q[0];\r\n\x1a")
    assert "holds only comments" in refused(server, comments, *on_ionq).stderr
    assert "cannot be read" in refused(server, tmp_path / "none.quil", *on_ionq).stderr
    measured = write(tmp_path, "flip.qasm", QASM_2)
    on_pasqal = ("--target", "pasqal.sim.emu-tn")
    assert "takes pulse sequences" in refused(server, measured, *on_pasqal).stderr
    unmeasured = write(tmp_path, "none.qasm", QASM_2.replace("measure", "// measure"))
    on_quantinuum = ("--target", "quantinuum.sim.h2-1sc")
    assert "no `measure` statement" in refused(server, unmeasured, *on_quantinuum).stderr
    unreached = write(tmp_path, "unreached.qasm", QASM_2.replace("measure", "if (c==5) measure"))
    assert "no `measure` statement" in refused(server, unreached, *on_ionq).stderr
    unknown = write(tmp_path, "unknown.qasm", QASM_2.replace("x q", "wobble q"))
    assert "Line 5, column 1" in refused(server, unknown, *on_ionq).stderr
    assert "write --shots" in refused(server, measured, *on_ionq, "--param", "count=5").stderr
    on_aria = ("--target", "ionq.qpu.aria-1", "--yes", "--shots", "10001")
    assert "at most 10000 shots" in refused(server, measured, *on_aria).stderr
    circuit = write(tmp_path, "circuit.json", cirq.to_json(cirq.Circuit()))
    assert "`cirq-azure-sessions run`" in refused(server, circuit, *on_ionq).stderr
    odd = write(tmp_path, "odd.qs", "operation {")
    assert "cannot compile" in refused(server, odd, *on_ionq).stderr
    assert "has no target" in refused(server, odd, "--target", "ionq.none").stderr
    assert "name=value" in refused(server, odd, *on_ionq, "--param", "shots").stderr
