"""The command `doctor`: one line a check, whatever fails, and nothing that must not be shown."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from azure_suite import without_proxies
from click.testing import CliRunner, Result
from command_line import call_on
from services import FLIP

from cirq_azure_sessions import AzureSessionSampler, ManualClock
from cirq_azure_sessions.cli import doctor as doctor_file
from cirq_azure_sessions.cli import main
from cirq_azure_sessions.costs import known_rates
from cirq_azure_sessions.emulator import EmulatorServer
from cirq_azure_sessions.errors import ServiceError
from cirq_azure_sessions.workspaces.azure import diagnostics

SECRETS = {
    "AZURE_CLIENT_SECRET": "the-secret-of-the-client",
    "AZURE_QUANTUM_CONNECTION_STRING": "WorkspaceName=mine;ApiKey=the-key-of-the-workspace==;",
    "CIRQ_AZURE_SESSIONS_EMULATOR_KEY": "the-key-of-the-emulator",
    "HTTPS_PROXY": "http://user:the-password-of-the-proxy@proxy.invalid",
}
SIGNATURE = "THE%2BSIGNATURE"
TOKEN = "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9"
# Nothing listens here.
CLOSED = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    without_proxies(monkeypatch)
    # No test leaves this machine.
    monkeypatch.setattr(diagnostics, "_ANY_ENDPOINT", "https://127.0.0.1:1")
    for name in ("AZURE_QUANTUM_CONNECTION_STRING", "AZURE_QUANTUM_WORKSPACE_NAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries wait on a clock that a sleeper advances."""
    monkeypatch.setattr("cirq_azure_sessions.clock.SystemClock", ManualClock)


@pytest.fixture
def server() -> Iterator[EmulatorServer]:
    with EmulatorServer() as server:
        yield server


@pytest.fixture
def no_login(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object, *scopes: str, **options: object) -> None:
        raise ServiceError("There is no login.")

    monkeypatch.setattr("azure.identity.DefaultAzureCredential.get_token", refuse)
    monkeypatch.setattr("azure.identity.DefaultAzureCredential.get_token_info", refuse)


def statuses(shown: Result) -> dict[str, str]:
    """The mark of each check; the last one of a name counts."""
    lines = shown.stdout.split("\n\n")[0].splitlines()
    rows = [re.fullmatch(r"(\S+) +(.*?)(?:  +| (?=as expected)).*", line) for line in lines]
    return {row[2]: row[1] for row in rows if row}


def jobs_of(server: EmulatorServer) -> int:
    return server.requests["submit"]


def test_doctor_finds_no_fault_with_an_emulator(server: EmulatorServer) -> None:
    shown = call_on(server, "doctor")
    assert shown.exit_code == 0, shown.output
    assert "FAIL" not in shown.stdout
    assert shown.stdout.endswith("All checks passed.\n")
    expected = {"python", "azure-quantum", "environment", "workspace", "endpoint", "storage"}
    expected |= {"proxy", "trust", "credential", "round trip", "clock", "service"}
    assert expected <= statuses(shown).keys()
    assert server.key not in shown.output
    assert jobs_of(server) == 0


def test_findings_are_printed_as_json(server: EmulatorServer) -> None:
    shown = call_on(server, "doctor", "--json")
    read = json.loads(shown.stdout)
    assert read["ok"] is True
    assert {each["check"] for each in read["checks"]} >= {"python", "service"}
    assert all(each.keys() == {"check", "text", "status"} for each in read["checks"])


def test_live_runs_a_free_job_in_a_session_of_its_own(server: EmulatorServer) -> None:
    shown = call_on(server, "doctor", "--live")
    assert shown.exit_code == 0, shown.output
    assert "opened on ionq.simulator" in shown.stdout
    assert "closed, Succeeded" in shown.stdout
    assert jobs_of(server) == 1


def test_live_takes_another_free_simulator_where_the_first_is_away(server: EmulatorServer) -> None:
    server.set_availability("ionq.simulator", "Unavailable")
    shown = call_on(server, "doctor", "--live")
    assert shown.exit_code == 0, shown.output
    opened = re.search(r"opened on (\S+)", shown.stdout)
    assert opened is not None
    assert opened[1] != "ionq.simulator"
    assert jobs_of(server) == 1


def test_live_sends_no_chargeable_job_without_consent(server: EmulatorServer) -> None:
    shown = call_on(server, "doctor", "--live", "--target", "ionq.qpu.aria-1")
    assert shown.exit_code == 1
    assert "add --yes" in shown.stdout
    assert jobs_of(server) == 0
    shown = call_on(server, "doctor", "--live", "--target", "ionq.qpu.aria-1", "--yes")
    assert shown.exit_code == 0, shown.output
    assert jobs_of(server) == 1


def test_live_runs_nothing_without_a_free_target(server: EmulatorServer) -> None:
    for target in json.loads(call_on(server, "targets", "--json").stdout):
        if (rates := known_rates(target["id"])) is not None and rates.is_free:
            server.set_availability(target["id"], "Unavailable")
    shown = call_on(server, "doctor", "--live")
    assert shown.exit_code == 1
    assert "name one with --target" in shown.stdout
    assert server.requests["open"] == jobs_of(server) == 0


def test_live_opens_no_session_for_a_target_that_takes_no_circuits(server: EmulatorServer) -> None:
    shown = call_on(server, "doctor", "--live", "--target", "pasqal.sim.emu-tn", "--yes")
    assert shown.exit_code == 1
    assert "live session" in statuses(shown)
    assert json.loads(call_on(server, "sessions", "list", "--json").stdout) == []


@pytest.mark.parametrize(("answer", "jobs"), [("n\n", 0), ("y\n", 1)])
def test_live_asks_before_a_job_that_may_cost(
    server: EmulatorServer, monkeypatch: pytest.MonkeyPatch, answer: str, jobs: int
) -> None:
    monkeypatch.setattr(doctor_file, "is_interactive", lambda: True)
    words = ("doctor", "--live", "--target", "quantinuum.sim.h2-1e")
    shown = call_on(server, *words, answer=answer)
    assert shown.exit_code == 0, shown.output
    assert "may cost money" in shown.stderr
    assert jobs_of(server) == jobs


def test_aborted_prompt_ends_the_command(
    server: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_file, "is_interactive", lambda: True)
    shown = call_on(server, "doctor", "--live", "--target", "ionq.qpu.aria-1", answer="")
    assert (shown.exit_code, jobs_of(server)) == (1, 0)
    assert "report it" not in shown.output


def test_target_is_refused_without_live(server: EmulatorServer) -> None:
    assert call_on(server, "doctor", "--target", "ionq.simulator").exit_code == 2


def test_a_job_that_fails_is_reported_and_its_session_closed(server: EmulatorServer) -> None:
    server.faults.fail_job(code="InvalidInputData", message=f"Cannot read ?sig={SIGNATURE}.")
    shown = call_on(server, "doctor", "--live")
    assert shown.exit_code == 1
    assert statuses(shown)["live job"] == "FAIL"
    assert statuses(shown)["live session"] == "ok"
    assert SIGNATURE not in shown.output
    sessions = json.loads(call_on(server, "sessions", "list", "--json").stdout)
    assert [each["status"] in ("Waiting", "Executing") for each in sessions] == [False]


def test_without_a_workspace_everything_else_is_checked(no_login: None) -> None:
    shown = CliRunner().invoke(main, ["doctor", "--live"])
    assert shown.exit_code == 1
    found = statuses(shown)
    assert (found["workspace"], found["credential"], found["python"]) == ("FAIL", "FAIL", "ok")
    assert (found["round trip"], found["clock"]) == ("FAIL", "-")
    assert found["service"] == found["live job"] == "-"
    assert "--resource-id" in shown.stdout
    assert shown.stdout.endswith("3 checks failed.\n")


def test_unreachable_server_fails_after_all_other_checks(no_waits: None) -> None:
    shown = CliRunner().invoke(
        main, ["doctor", "--emulator", CLOSED, "--emulator-key", "a-key-of-it", "--live"]
    )
    assert shown.exit_code == 1
    found = statuses(shown)
    assert (found["round trip"], found["service"]) == ("FAIL", "FAIL")
    assert (found["endpoint"], found["live job"]) == ("ok", "-")


def test_a_wrong_key_is_reported_and_not_shown(server: EmulatorServer) -> None:
    words = ["doctor", "--emulator", server.endpoint, "--emulator-key", "the-wrong-key"]
    shown = CliRunner().invoke(main, words)
    assert shown.exit_code == 1
    assert "check the key" in shown.stdout
    assert "the-wrong-key" not in shown.output


def test_a_check_that_breaks_does_not_stop_the_others(
    server: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise RuntimeError(TOKEN)

    for name in ("check_workspace", "check_sign_in", "check_connection"):
        monkeypatch.setattr(diagnostics, name, fail)
    shown = call_on(server, "doctor")
    assert shown.exit_code == 1
    assert statuses(shown)["service"] == "ok"
    assert TOKEN not in shown.output


_WITHOUT_IDENTITY = """
import sys
sys.modules["azure.identity"] = None
from cirq_azure_sessions.cli import main
main(["doctor"])
"""


def test_an_installation_that_cannot_be_imported_is_reported() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _WITHOUT_IDENTITY],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (1, "")
    assert re.search(r"^ok +azure-quantum ", ended.stdout, re.MULTILINE)
    assert re.search(r"^FAIL +imports .*azure\.identity", ended.stdout, re.MULTILINE)


QUOTES: dict[str, Callable[[EmulatorServer], Any]] = {
    "a refusal": lambda server: server.faults.add("*", status=403, message=_all(), times=None),
    "garbage": lambda server: server.faults.garble("*", _all(), times=None),
    "a failed job": lambda server: server.faults.fail_job(code="Odd", message=_all(), times=None),
}


def _all() -> str:
    words = [*SECRETS.values(), f"Bearer {TOKEN}", f"https://a.blob.core/x?se=1&sig={SIGNATURE}"]
    return "Quoted: " + " ".join(words)


@pytest.mark.parametrize("source", QUOTES)
@pytest.mark.parametrize("extra", [[], ["--json"]])
def test_secrets_are_redacted_from_every_finding(
    monkeypatch: pytest.MonkeyPatch, no_waits: None, source: str, extra: list[str]
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    with EmulatorServer(key=SECRETS["CIRQ_AZURE_SESSIONS_EMULATOR_KEY"]) as server:
        QUOTES[source](server)
        words = ["doctor", "--live", "--emulator", server.endpoint, *extra]
        shown = CliRunner().invoke(main, words)
    assert shown.exit_code == 1
    hidden = {"the-secret-of-the-client", "the-key-of-the-workspace", "the-key-of-the-emulator"}
    hidden |= {"the-password-of-the-proxy", SIGNATURE, TOKEN}
    assert {secret for secret in hidden if secret in shown.output} == set()
    # Their names are shown.
    assert "AZURE_CLIENT_SECRET" in shown.output


def test_a_credential_that_quotes_is_redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object, *scopes: str, **options: object) -> None:
        from azure.core.exceptions import ClientAuthenticationError

        raise ClientAuthenticationError(f"None.\nAttempted credentials:\n\tOne: {_all()}")

    monkeypatch.setenv("AZURE_CLIENT_SECRET", SECRETS["AZURE_CLIENT_SECRET"])
    monkeypatch.setattr("azure.identity.DefaultAzureCredential.get_token", refuse)
    monkeypatch.setattr("azure.identity.DefaultAzureCredential.get_token_info", refuse)
    shown = CliRunner().invoke(main, ["doctor"])
    assert "One: Quoted: ..." in shown.stdout
    for secret in (SECRETS["AZURE_CLIENT_SECRET"], SIGNATURE, TOKEN):
        assert secret not in shown.output


def test_every_check_is_one_line(no_login: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such\nFAIL  file")
    shown = CliRunner().invoke(main, ["doctor"])
    marks = re.compile(r"(ok|warn|FAIL|-) ")
    checks = shown.stdout.split("\n\n")[0].splitlines()
    assert all(marks.match(line) for line in checks)
    assert sum(line.startswith("FAIL  file") for line in checks) == 0


def test_doctor_leaves_a_workspace_that_others_use_alone(server: EmulatorServer) -> None:
    with AzureSessionSampler("ionq.simulator", workspace=server.workspace()) as sampler:
        sampler.run(FLIP)
        assert call_on(server, "doctor", "--live").exit_code == 0
        sampler.run(FLIP)
    sessions = json.loads(call_on(server, "sessions", "list", "--json").stdout)
    assert len(sessions) == 2
