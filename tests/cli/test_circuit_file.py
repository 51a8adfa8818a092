"""Files of circuits: their content decides what they are."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import cirq
import command_line
import pytest
import sympy
from click.testing import CliRunner

from cirq_azure_sessions import encodings, read_circuit
from cirq_azure_sessions.cli import main
from cirq_azure_sessions.cli.circuit_file import parse_circuit

BELL = f"\n// A comment before the version.{command_line.BELL}"


def circuit() -> cirq.Circuit:
    a, b = cirq.LineQubit.range(2)
    return cirq.Circuit(cirq.X(a) ** sympy.Symbol("t"), cirq.CNOT(a, b), cirq.measure(a, b))


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="The system has no /dev/zero")
def test_file_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encodings, "_MAX_SIZE", 1 << 20)
    with pytest.raises(ValueError, match="The program holds more than 1 MB"):
        read_circuit("/dev/zero")
    shown = CliRunner().invoke(main, ["run", "/dev/zero"])
    assert shown.exit_code == 2
    assert "more than 1 MB" in " ".join(shown.stderr.split())


def test_cirqs_json_is_read(tmp_path: Path) -> None:
    cirq.to_json(circuit(), tmp_path / "circuit.json")
    assert read_circuit(tmp_path / "circuit.json") == circuit()


def test_a_frozen_circuit_is_a_circuit() -> None:
    assert parse_circuit(cirq.to_json(circuit().freeze())) == circuit()


def test_openqasm_is_recognized_by_content_not_by_file_name(tmp_path: Path) -> None:
    (tmp_path / "bell.txt").write_text(BELL)
    bell = read_circuit(tmp_path / "bell.txt")
    assert bell.all_measurement_key_names() == {"c_0", "c_1"}
    assert cirq.Simulator().run(bell, repetitions=50).multi_measurement_histogram(
        keys=["c_0", "c_1"]
    ).keys() <= {(0, 0), (1, 1)}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "This file is empty"),
        ("// nothing\n\n/* at\nall */ ", "This file is empty, or holds only comments"),
        ("Remember the milk.", "neither Cirq JSON nor OpenQASM 2"),
        ("{", "Cirq cannot read this JSON"),
        ('{"shopping": "milk"}', "holds a dict, not a circuit"),
        ('{"cirq_type": "NoSuchType"}', "Cirq cannot read this JSON: Could not resolve"),
        ('{"cirq_type": "Circuit"}', "Cirq cannot read this JSON"),
        (cirq.to_json(cirq.LineQubit(1)), "holds a LineQubit, not a circuit"),
        (
            "OPENQASM 2.0; qreg q[1]; milk q;",
            "cannot be read. Line 1, column 26: there is no gate milk",
        ),
        ("OPENQASM 3.0; qubit q;", "OpenQASM 3, .*`cirq-azure-sessions jobs submit FILE"),
        ("/* of\nlines */ OPENQASM 3;", "OpenQASM 3, .*`cirq-azure-sessions jobs submit FILE"),
        ("OPENQASM 4.0;", "this is OpenQASM 4, and the version has to be 2.0"),
    ],
)
def test_an_invalid_circuit_is_refused_with_advice(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as refused:
        parse_circuit(text)
    assert "\n" not in str(refused.value)


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "circuit.bin").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(ValueError, match="neither Cirq JSON nor OpenQASM 2"):
        read_circuit(tmp_path / "circuit.bin")


def test_a_missing_file_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_circuit(tmp_path / "nowhere.json")


JSON = cirq.to_json(circuit())
# As Notepad, PowerShell's `>` and `Out-File`, old editors and Cirq write them.
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("text", [JSON, BELL.lstrip(), "// café\n" + BELL], ids=["j", "q", "c"])
def test_files_are_read_in_the_encodings_of_windows(
    tmp_path: Path, text: str, encoding: str, packed: bool
) -> None:
    content = text.replace("\n", "\r\n").encode(encoding)
    path = tmp_path / "circuit"
    path.write_bytes(gzip.compress(content) if packed else content)
    assert read_circuit(path) == read_circuit(str(path)) == parse_circuit(text)


@pytest.mark.parametrize("text", [BELL, JSON], ids=["q", "j"])
@pytest.mark.parametrize("end", [b"\x1a", b"\x1a" * 99 + b"\r\n", b"\0", b"\0" * 99, b"\n\0\x1a"])
def test_what_old_editors_end_a_file_with_is_skipped(tmp_path: Path, text: str, end: bytes) -> None:
    path = tmp_path / "circuit"
    path.write_bytes(text.encode() + end)
    assert read_circuit(path) == parse_circuit(text)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_the_mark_at_the_end_may_be_a_single_byte(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "bell.qasm"
    path.write_bytes(BELL.encode(encoding) + b"\x1a")
    assert read_circuit(path) == parse_circuit(BELL)


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\0", b"\x1a\r\n"])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_file_without_a_program_is_called_empty(
    tmp_path: Path, content: bytes, packed: bool
) -> None:
    path = tmp_path / "circuit.json"
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(ValueError, match="This file is empty"):
        read_circuit(path)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "cp850", "cp932"])
def test_comments_may_be_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    comment = "// 量子\n" if encoding == "cp932" else "// café\n"
    path = tmp_path / "bell.qasm"
    path.write_bytes((comment + BELL).encode(encoding))
    assert read_circuit(path) == parse_circuit(BELL)


def test_a_comment_may_stand_before_the_version() -> None:
    assert parse_circuit(BELL.replace("OPENQASM", "OPENQASM // 3\n")) == parse_circuit(BELL)


def test_json_that_is_not_utf8_is_refused_with_the_encoding(tmp_path: Path) -> None:
    path = tmp_path / "circuit.json"
    path.write_bytes(b'{"caf\xe9": 1}')
    with pytest.raises(ValueError, match="UTF-8, and byte 5"):
        read_circuit(path)


def test_damaged_gzip_file_is_reported_as_such(tmp_path: Path) -> None:
    path = tmp_path / "circuit.json.gz"
    path.write_bytes(gzip.compress(JSON.encode())[:-20])
    with pytest.raises(ValueError, match="gzip file is damaged"):
        read_circuit(path)


def test_the_gzip_file_of_cirq_is_read(tmp_path: Path) -> None:
    cirq.to_json_gzip(circuit(), tmp_path / "circuit.gz")
    assert read_circuit(tmp_path / "circuit.gz") == circuit()


@pytest.mark.parametrize("text", [BELL, JSON, "OPENQASM 2.0; qreg q[1];", "\ufeff" + BELL])
def test_text_is_read_like_a_path(text: str) -> None:
    assert read_circuit(text) == parse_circuit(text.removeprefix("\ufeff"))


def test_file_name_may_look_like_a_circuit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("[1].json").write_text(JSON)
    assert read_circuit("[1].json") == circuit()


def test_reading_a_circuit_starts_no_http_server() -> None:
    script = (
        "import sys; from cirq_azure_sessions import read_circuit;"
        "read_circuit('OPENQASM 2.0; qreg q[1];');"
        "assert not {'aiohttp', 'azure', 'qdk'} & set(sys.modules), sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env=os.environ)
