"""The commands that look into a journal, and the one that closes what dead runs left open."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cirq
import pytest
import sympy
from click.testing import CliRunner, Result

from cirq_azure_sessions import (
    AzureSessionSampler,
    AzureWorkspace,
    Journal,
    ResultFormatError,
    SessionPool,
)
from cirq_azure_sessions.cli import main
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.model import SessionRequest

TARGET = "ionq.simulator"
QUBITS = cirq.LineQubit.range(2)
CIRCUIT = cirq.Circuit(
    cirq.X(QUBITS[0]) ** sympy.Symbol("a"), cirq.X(QUBITS[1]), cirq.measure(*QUBITS, key="m")
)


@dataclass(frozen=True)
class Scene:
    """A journal of one run of three jobs: the result of the second is missing, the last failed."""

    server: EmulatorServer
    path: Path
    good: Any


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    path = tmp_path_factory.mktemp("scene") / "run.journal"
    with EmulatorServer(key="emulator") as server:
        options: dict[str, Any] = {"journal": path, "max_concurrent_jobs": 1, "on_error": "return"}
        with AzureSessionSampler(TARGET, workspace=server.workspace(), **options) as sampler:
            good = sampler.run(CIRCUIT, {"a": 0}, 10)
            server.faults.add("download", status=404)
            sampler.run_sweep(CIRCUIT, {"a": 1}, 10)
            server.faults.fail_job(code="InvalidInputData", message="It is [/odd] :cat:.")
            sampler.run_sweep(CIRCUIT, {"a": 0.5}, 10)
        yield Scene(server, path, good)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def read(*arguments: object) -> Any:
    shown = call(*arguments)
    assert shown.exit_code == 0, shown.stderr
    return json.loads(shown.stdout)


# Showing


def test_a_journal_is_shown_without_a_workspace(scene: Scene) -> None:
    requests = scene.server.requests.total
    shown = call("journal", "show", scene.path).stdout
    assert scene.server.requests.total == requests
    assert "1 finished, 1 failed, 1 unavailable" in shown
    assert max(map(len, shown.splitlines())) <= max(80, len(str(scene.path)) + 20)


def test_reason_for_a_missing_result_is_the_errors_message(scene: Scene) -> None:
    words = " ".join(call("journal", "show", scene.path).stdout.split())
    assert "Jobs without a result" in words
    assert "its result is missing" in words
    assert "It is [/odd] :cat:." in words


def test_printed_json_can_be_parsed(scene: Scene) -> None:
    shown = read("journal", "show", scene.path, "--json")
    assert shown["path"] == str(scene.path)
    assert shown["jobs_by_state"] == {"finished": 1, "failed": 1, "unavailable": 1}
    assert [job["state"] for job in shown["jobs"]] == ["finished", "unavailable", "failed"]
    (run,) = shown["runs"]
    assert run["started"].endswith("+00:00")
    assert run["ended"].endswith("+00:00")
    assert shown["open_sessions"] == []


def test_the_latest_jobs_are_shown_and_all_are_counted(scene: Scene) -> None:
    shown = read("journal", "show", scene.path, "--json", "--limit", 1)
    assert [job["state"] for job in shown["jobs"]] == ["failed"]
    assert sum(shown["jobs_by_state"].values()) == 3
    assert len(read("journal", "show", scene.path, "--json", "--limit", 10**30)["jobs"]) == 3


def test_a_run_that_is_alive_and_its_open_session_are_shown(scene: Scene, tmp_path: Path) -> None:
    path = tmp_path / "alive.journal"
    with SessionPool(scene.server.workspace(), journal=path) as pool:
        session = pool.session(TARGET).id
        shown = call("journal", "show", path).stdout
        (seen,) = read("journal", "show", path, "--json")["open_sessions"]
    assert f"{session}  {TARGET}  1, alive" in shown
    assert (seen["id"], seen["closed"]) == (session, None)


# Exporting


def test_export_writes_one_line_per_job_with_its_decoded_output(scene: Scene) -> None:
    good, missing, failed = map(
        json.loads, call("journal", "export", scene.path).stdout.split("\n")[:-1]
    )
    assert good["job_id"] == scene.good.job_id
    assert good["keys"] == ["m"]
    (point,) = good["points"]
    assert point["params"] == {"a": 0.0}
    assert (point["repetitions"], point["counts"]) == (10, {"01": 10})
    assert (point["job_id"], point["session_id"]) == (good["job_id"], good["session_id"])
    assert json.loads(good["output"]) == {"histogram": {"2": 1.0}}
    assert good["input_params"]["shots"] == 10
    assert (missing["state"], missing["output"], missing["points"]) == ("unavailable", None, [])
    assert (failed["state"], failed["code"]) == ("failed", "InvalidInputData")
    assert failed["message"] == "It is [/odd] :cat:."


def test_an_export_may_be_one_list_and_go_to_a_file(scene: Scene, tmp_path: Path) -> None:
    lines, whole = tmp_path / "lines", tmp_path / "whole"
    assert call("journal", "export", scene.path, "-o", lines).stdout == ""
    assert call("journal", "export", scene.path, "-o", whole, "--json").exit_code == 0
    assert [json.loads(line) for line in lines.read_text().splitlines()] == json.loads(
        whole.read_text()
    )
    assert [file.name for file in tmp_path.iterdir()] in (["lines", "whole"], ["whole", "lines"])


def test_an_empty_journal_is_shown_and_exported(tmp_path: Path) -> None:
    path = tmp_path / "new.journal"
    Journal(path).close()
    assert "sessions open  0" in call("journal", "show", path).stdout
    assert call("journal", "export", path).stdout == ""
    assert read("journal", "export", path, "--json") == []


def test_invalid_output_is_exported_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "run.journal"
    with (
        EmulatorServer() as server,
        AzureSessionSampler(TARGET, workspace=server.workspace(), journal=path) as sampler,
    ):
        server.faults.garble("download", "no histogram")
        with pytest.raises(ResultFormatError):
            sampler.run(CIRCUIT, {"a": 1}, repetitions=10)
    (job,) = read("journal", "export", path, "--json")
    assert (job["state"], job["code"]) == ("unavailable", "ResultFormatError")
    assert (job["output"], job["points"]) == ("no histogram", [])


# Refusing


@pytest.mark.parametrize("command", ["show", "export"])
def test_missing_journal_is_not_created(command: str, tmp_path: Path) -> None:
    shown = call("journal", command, tmp_path / "nowhere.journal")
    assert (shown.exit_code, shown.stdout) == (1, "")
    (sentence,) = shown.stderr.splitlines()
    assert "does not exist" in sentence
    assert list(tmp_path.iterdir()) == []


def test_file_that_is_not_a_journal_is_reported_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "diary"
    path.write_text("Dear diary, " * 100)
    shown = call("journal", "show", path)
    assert shown.exit_code == 1
    (sentence,) = shown.stderr.splitlines()
    assert "another program's file" in sentence


def test_a_journal_is_not_exported_onto_itself(scene: Scene) -> None:
    shown = call("journal", "export", scene.path, "-o", scene.path)
    assert shown.exit_code == 2
    assert "choose another file" in shown.stderr
    assert read("journal", "show", scene.path, "--json")["jobs"]


def test_export_overwrites_only_its_own_files(scene: Scene, tmp_path: Path) -> None:
    part, other = tmp_path / "results.jsonl.part", tmp_path / "other.journal"
    part.write_bytes(scene.path.read_bytes())
    Journal(other).close()
    before = part.read_bytes(), other.read_bytes()
    assert call("journal", "export", part, "-o", tmp_path / "results.jsonl").exit_code == 0
    assert read("journal", "show", part, "--json")["jobs"]
    refused = call("journal", "export", part, "-o", other)
    assert (refused.exit_code, "is not this command's export" in refused.stderr) == (2, True)
    notes = tmp_path / "notes"
    notes.write_text("mine")
    assert call("journal", "export", part, "-o", notes).exit_code == 2
    assert notes.read_text() == "mine"
    notes.unlink()
    link = tmp_path / "link"
    link.symlink_to("link")
    assert call("journal", "export", part, "-o", link).exit_code == 1
    assert link.is_symlink()
    link.unlink()
    for name in (part, f"{part}-wal", f"{part}-run-1"):
        link.symlink_to(name)
        for output in (name, link):
            beside = call("journal", "export", part, "-o", output)
            assert (beside.exit_code, "would overwrite the journal" in beside.stderr) == (2, True)
        link.unlink()
    assert (part.read_bytes(), other.read_bytes()) == before
    mine = tmp_path / "mine.jsonl.part"
    mine.write_text("mine")
    assert call("journal", "export", part, "-o", tmp_path / "mine.jsonl").exit_code == 0
    assert mine.read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 5


def test_export_follows_a_link_and_keeps_the_mode_of_the_file(scene: Scene, tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.touch()
    real.chmod(0o640)
    link.symlink_to(real)
    for options, lines in (((), 3), (("--json",), 4), ((), 3)):
        assert call("journal", "export", scene.path, "-o", link, *options).exit_code == 0
        assert len(real.read_text().splitlines()) == lines
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640


def test_export_that_fails_midway_leaves_the_file_as_it_was(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(journal: Journal) -> Iterator[str]:
        yield "{}"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cirq_azure_sessions.cli.journal_tables.export_lines", break_off)
    output = tmp_path / "results.jsonl"
    output.write_text("[]\n")
    shown = call("journal", "export", scene.path, "-o", output)
    assert (shown.exit_code, output.read_text()) == (1, "[]\n")
    assert [*tmp_path.iterdir()] == [output]


@pytest.mark.parametrize("command", ["show", "export"])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_nothing_is_printed_into_the_journal_that_is_read(
    command: str, stream: str, scene: Scene, tmp_path: Path
) -> None:
    journal = tmp_path / "copy"
    journal.write_bytes(scene.path.read_bytes())
    before = journal.read_bytes()
    words = [sys.executable, "-m", "cirq_azure_sessions", "journal", command, str(journal)]
    with journal.open("ab") as file:
        streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        child = subprocess.run(words, check=False, **streams | {stream: file})
    assert (child.returncode, journal.read_bytes()) == (2, before)
    # Where stderr is the file there is nowhere to say why.
    assert stream == "stderr" or b"would be written into" in child.stderr


@pytest.mark.parametrize("command", ["show", "export"])
def test_path_that_is_not_a_journal_is_refused_and_unchanged(command: str, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch(mode=0o644)
    tmp_path.chmod(0o755)
    for path in (empty, tmp_path):
        before = path.stat()
        assert call("journal", command, path).exit_code == 1
        after = path.stat()
        assert (after.st_mode, after.st_mtime_ns, after.st_size) == (
            before.st_mode,
            before.st_mtime_ns,
            before.st_size,
        )
    assert [*tmp_path.iterdir()] == [empty]


def test_unwritable_file_is_reported_in_one_sentence(scene: Scene, tmp_path: Path) -> None:
    shown = call("journal", "export", scene.path, "-o", tmp_path / "nowhere" / "file")
    assert shown.exit_code == 1
    assert "cannot be written (No such file or directory)" in shown.stderr


def test_empty_id_and_overlong_path_are_reported_in_one_sentence(scene: Scene) -> None:
    for words in (("forget", scene.path, ""), ("show", "x" * 5000)):
        shown = call("journal", *words)
        assert shown.exit_code in (1, 2)
        assert shown.stderr.splitlines()[-1].startswith("Error: ")


@pytest.mark.parametrize("command", ["show", "export"])
def test_damaged_job_is_reported_in_one_sentence(
    command: str, scene: Scene, tmp_path: Path
) -> None:
    path = tmp_path / "damaged.journal"
    path.write_bytes(scene.path.read_bytes())
    with sqlite3.connect(path) as file:
        file.execute("UPDATE jobs SET metadata = 'zero' WHERE number = 2")
    file.close()
    shown = call("journal", command, path)
    assert shown.exit_code == 1
    assert "it is damaged: restore a backup" in shown.stderr


# Closing what dead runs left open


def leave_orphan(server: EmulatorServer, path: Path, name: str = "vqe") -> str:
    """A session that a run opened which ended without closing it."""

    async def open_session() -> str:
        workspace = AzureWorkspace(server.workspace())
        request = SessionRequest(str(uuid.uuid4()), TARGET, name)
        with Journal(path) as journal:
            await journal._opening(request, workspace.identity)
            await workspace.open_session(request)
        await workspace.aclose()
        return request.id

    return asyncio.run(open_session())


@pytest.fixture
def server() -> Iterator[EmulatorServer]:
    with EmulatorServer(key="emulator") as server:
        yield server


def close(server: EmulatorServer, *arguments: object) -> Result:
    emulator = ("--emulator", server.endpoint, "--emulator-key", server.key)
    return call("sessions", "close", *arguments, *emulator)


def test_orphans_are_closed_and_sessions_in_use_are_not(
    server: EmulatorServer, tmp_path: Path
) -> None:
    path = tmp_path / "run.journal"
    orphan = leave_orphan(server, path)
    with SessionPool(server.workspace(), journal=path, name="vqe") as pool:
        # It adopts the first, which thereby is no orphan.
        assert pool.session(TARGET).id == orphan
        second = leave_orphan(server, path, "other")
        shown = close(server, "--orphans", "--journal", path, "--json")
        assert [session["id"] for session in json.loads(shown.stdout)] == [second]
        assert pool.session(TARGET).status == "Waiting"
    shown = close(server, "--orphans", "--journal", path, "--json")
    assert (shown.exit_code, json.loads(shown.stdout)) == (0, [])


def test_an_orphan_that_is_not_closed_is_named_and_can_be_closed_later(
    server: EmulatorServer, tmp_path: Path
) -> None:
    path = tmp_path / "run.journal"
    orphan = leave_orphan(server, path)
    server.faults.add("close", status=403, times=None)
    shown = close(server, "--orphans", "--journal", path)
    server.faults.clear()
    assert shown.exit_code == 1
    assert f"The service did not close {orphan}: try again later." in shown.stderr
    assert orphan in close(server, "--orphans", "--journal", path).stdout


def test_orphans_of_another_workspace_are_reported_and_not_touched(
    server: EmulatorServer, tmp_path: Path
) -> None:
    path = tmp_path / "run.journal"
    orphan = leave_orphan(server, path)
    elsewhere = server.resource_id.replace("myworkspace", "other")
    shown = close(server, "--orphans", "--journal", path, "--resource-id", elsewhere)
    assert shown.exit_code == 1
    assert f"--resource-id, as {server.resource_id.lower()}" in shown.stderr
    assert orphan in close(server, "--orphans", "--journal", path).stdout


def test_all_open_sessions_of_a_name_are_closed_and_no_others(server: EmulatorServer) -> None:
    workspace = server.workspace()
    with SessionPool(workspace, name="vqe") as mine, SessionPool(workspace, name="vqe2") as other:
        ids = [pool.session(TARGET).id for pool in (mine, other)]
        shown = close(server, "--name", "vqe", "--yes", "--json")
        assert [session["id"] for session in json.loads(shown.stdout)] == ids[:1]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "give ID..., --orphans or --name"),
        (["1f3c", "--name", "vqe"], "give ID..., --orphans or --name"),
        (["--orphans"], "--orphans and --journal PATH belong together"),
        (["1f3c", "--journal", "run.journal"], "--orphans and --journal PATH belong together"),
    ],
)
def test_it_must_be_said_which_sessions(
    server: EmulatorServer, arguments: list[str], told: str
) -> None:
    shown = close(server, *arguments)
    assert shown.exit_code == 2
    assert told in shown.stderr


def test_orphans_without_a_journal_are_reported_in_one_sentence(
    server: EmulatorServer, tmp_path: Path
) -> None:
    shown = close(server, "--orphans", "--journal", tmp_path / "nowhere.journal")
    assert shown.exit_code == 1
    assert "does not exist" in shown.stderr
    assert list(tmp_path.iterdir()) == []
