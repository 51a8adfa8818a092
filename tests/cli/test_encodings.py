"""What the output cannot encode, or cannot take at all, loses no result that was paid for."""

from __future__ import annotations

import io
import itertools
import json
import os
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import cirq
import pytest
import sympy
from command_line import BELL, connection

from cirq_azure_sessions import AzureSessionSampler, JobFailed, SessionPool
from cirq_azure_sessions.cli import main
from cirq_azure_sessions.emulator import EmulatorServer

ENCODINGS = ["ascii", "cp437", "cp850", "cp932", "cp1252", "iso-8859-1", "utf-8"]

THETA = "\N{GREEK SMALL LETTER THETA}"
# Beside letters: two that are one, some of Japan's, a picture, and a part of a frame.
ODD = "e\N{COMBINING ACUTE ACCENT} \u65e5\u672c \N{PARTY POPPER} \N{BOX DRAWINGS DOUBLE HORIZONTAL}"
HALF = "half \ud83d"


@dataclass
class Printed:
    """What a command has written to streams that refuse what their encoding lacks."""

    code: int | str | None
    stdout: str
    stderr: str


def call(encoding: str, *words: object) -> Printed:
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding, write_through=True) for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    # click takes ASCII for a wrong setting, and writes its own messages in UTF-8 then.
    decoder = "utf-8" if encoding == "ascii" else encoding
    texts = [bytes(stream.buffer.getvalue()).decode(decoder) for stream in (out, err)]  # type: ignore[attr-defined]
    return Printed(end.value.code, *texts)


@dataclass(frozen=True)
class Odd:
    """A workspace and files in which everything that has a name has an odd one."""

    server: EmulatorServer
    folder: Path
    session: str
    done: str
    failed: str

    def commands(self) -> Iterator[tuple[int, str]]:
        """The exit code, and the words, of each command that draws or prints names."""
        job, session = self.done, self.session
        at = " ".join(connection(self.server))
        yield 0, "run odd.json"
        yield 0, "run half.json"
        yield 0, f"run sweep.json --sweep {THETA}=0:3:3"
        yield 0, "run odd.json --json"
        yield 0, f"run odd.json --target ionq.qpu.aria-1 {at} --name {THETA}"
        yield 2, f"run sweep.json --sweep {THETA}{THETA}=1"
        yield 2, "run sweep.json"
        yield 2, f"run {THETA}.json"
        yield 2, f"run odd.json --target inoq.{THETA} {at}"
        yield 2, f"run {THETA}.qasm"
        yield 0, "cost odd.json --target ionq.qpu.aria-1"
        yield 0, f"cost odd.json --target ionq.qpu.aria-1 --rate unit={THETA}"
        yield 2, f"cost odd.json --target ionq.qpu.aria-1 --rate {THETA}=1"
        for words in ("targets", "quotas", "doctor"):
            yield 0, f"{words} {at}"
        yield 0, f"sessions list {at}"
        yield 0, f"sessions list --name {THETA} {at}"
        yield 0, f"sessions show {session} {at}"
        yield 0, f"sessions watch {session} {at}"
        yield 0, f"sessions timeline --output {THETA}.svg {at}"
        yield 0, f"jobs list {at}"
        yield 2, f"jobs list --status {THETA} {at}"
        yield 0, f"jobs show {job} {at}"
        yield 0, f"jobs show {self.failed} {at}"
        yield 0, f"jobs result {job} {at}"
        yield 1, f"jobs result {self.failed} {at}"
        yield 0, f"jobs wait {job} {at}"
        yield 0, f"jobs tag {job} --tag {THETA} --yes {at}"
        yield 0, f"jobs show {job} --json {at}"
        yield 0, f"journal show {THETA}.journal"


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Odd]:
    folder, qubit = tmp_path_factory.mktemp("odd"), cirq.NamedQubit(ODD)
    circuit = cirq.Circuit(cirq.X(qubit), cirq.measure(qubit, key=ODD))
    half = cirq.Circuit(cirq.X(qubit), cirq.measure(qubit, key=HALF))
    turned = cirq.Circuit(cirq.rx(sympy.Symbol(THETA))(qubit), cirq.measure(qubit, key=THETA))
    for name, each in (("odd", circuit), ("half", half), ("sweep", turned)):
        cirq.to_json(each, str(folder / f"{name}.json"))
    (folder / f"{THETA}.qasm").write_text(f"OPENQASM 2.0;\nqreg {ODD};", encoding="utf-8")
    with EmulatorServer() as server, SessionPool(server.workspace(), name=ODD) as pool:
        sampler = AzureSessionSampler(
            "ionq.simulator",
            pool=pool,
            job_name=ODD,
            tags=[ODD],
            journal=folder / f"{THETA}.journal",
        )
        result = sampler.run(circuit)
        server.faults.fail_job(code=THETA, message=ODD)
        with pytest.raises(JobFailed) as failure:
            AzureSessionSampler("quantinuum.sim.h2-1e", pool=pool, job_name=ODD).run(circuit)
        sampler.close()
        pool.session("ionq.simulator").close()
        assert result.session_id
        yield Odd(server, folder, result.session_id, result.job_id, failure.value.job_id)


def test_every_command_shows_odd_names_in_every_encoding(
    odd: Odd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(odd.folder)
    others = itertools.cycle(ENCODINGS[1:])
    for code, words in odd.commands():
        # ASCII lacks the most; the others take turns.
        for encoding in ("ascii", next(others)):
            printed = call(encoding, *words.split())
            assert printed.code == code, (encoding, words, printed)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_no_encoding_of_the_output_loses_a_result(encoding: str, tmp_path: Path) -> None:
    qubit, path = cirq.LineQubit(0), tmp_path / "phase.json"
    cirq.to_json(cirq.Circuit(cirq.X(qubit), cirq.measure(qubit, key=THETA)), path)
    printed = call(encoding, "run", path, "--repetitions", 100)
    assert printed.code == 0, printed.stderr
    header, row = printed.stdout.splitlines()
    assert header.split()[0] in (THETA, r"\u03b8")
    assert row.split()[:3] == ["1", "100", "1.0000"]
    assert set(row.split()[3]) in ({"#"}, {"\N{FULL BLOCK}"})


# Arguments in a locale that does not decode them


def in_ascii(text: str) -> str:
    """What Python makes of an argument in UTF-8 where the locale is C."""
    return text.encode().decode("ascii", errors="surrogateescape")


def test_text_is_read_as_utf_8_in_every_locale(odd: Odd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(odd.folder)
    at, bell = connection(odd.server), odd.folder / in_ascii(f"{THETA}.txt")
    bell.write_text(BELL)
    remote = ["--target", "ionq.simulator", *at]
    for words in (
        ["run", "sweep.json", "--sweep", in_ascii(f"{THETA}=0:3:3")],
        ["run", "odd.json", *remote, "--name", in_ascii(f"{THETA} in C")],
        ["jobs", "submit", bell.name, *remote],
    ):
        printed = call("ascii", *words)
        assert printed.code == 0, (words, printed)
    with SessionPool(odd.server.workspace()) as pool:
        assert pool.list_sessions(name=f"{THETA} in C")
        assert pool.list_jobs(name=f"{THETA}.txt")
    printed = call("ascii", "run", "odd.json", *remote, "--name", "\udcff")
    assert printed.code == 2
    assert printed.stderr.endswith("Invalid value for '--name': The text is not valid UTF-8.\n")


# Where no output can be written


def _full() -> TextIO:
    return open("/dev/full", "w")


def _unread() -> TextIO:
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w")


@pytest.fixture
def bell(tmp_path: Path) -> Path:
    path = tmp_path / "bell.qasm"
    path.write_text(BELL)
    return path


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no device that is full")
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["table", "json"])
@pytest.mark.parametrize("make", [_full, _unread])
def test_files_are_written_though_nothing_can_be_printed(
    make: object, form: list[str], bell: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, stream = bell.with_name("bell.json"), make()  # type: ignore[operator]
    monkeypatch.setattr(sys, "stdout", stream)
    with pytest.raises(SystemExit) as end:
        main(["run", str(bell), "-o", str(file), *form])
    monkeypatch.undo()
    with suppress(OSError):
        stream.close()
    assert end.value.code == 1
    [point] = json.loads(file.read_text())["points"]
    assert sum(point["counts"].values()) == point["repetitions"]


def test_a_command_runs_with_closed_streams(bell: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    with pytest.raises(SystemExit) as end:
        main(["run", str(bell), "-o", str(bell.with_name("bell.json"))])
    assert end.value.code == 0
    assert bell.with_name("bell.json").exists()
