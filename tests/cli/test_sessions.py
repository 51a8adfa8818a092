"""The commands `sessions ...`, on an emulated workspace."""

from __future__ import annotations

import json

import pytest
from command_line import Scene, call_on
from services import FLIP

from cirq_azure_sessions import AzureSessionSampler, LocalWorkspace, ManualClock, SessionPool
from cirq_azure_sessions.cli import options
from cirq_azure_sessions.cli.sessions import watch
from cirq_azure_sessions.emulator import EmulatorServer

MISSING = "00000000-0000-0000-0000-000000000000"


def test_sessions_are_listed_newest_first_with_whole_ids(scene: Scene) -> None:
    header, *rows = scene.call("sessions", "list").stdout.splitlines()
    assert header.split() == ["id", "target", "status", "age"]
    assert [row.split()[:3] for row in rows[-2:]] == [
        [scene.open, "quantinuum.sim.h2-1e", "Failure(s)"],
        [scene.closed, "ionq.simulator", "Succeeded"],
    ]
    assert max(map(len, rows)) <= 80


@pytest.mark.parametrize(
    "filters",
    [
        ["--target", "ionq", "--name", "y"],
        ["--target", "*.simulator", "--name", "y"],
        ["--status", "succeeded", "--name", "yester"],
        ["--status", "closed", "--name", "yester"],
    ],
)
def test_sessions_are_filtered(filters: list[str], scene: Scene) -> None:
    assert [session["id"] for session in scene.read("sessions", "list", *filters)] == [scene.closed]


def test_an_empty_list_names_its_filters(scene: Scene) -> None:
    filters = ("--target", "rigetti.*", "--status", "executing", "--name", "x", "--hours", "36")
    assert scene.call("sessions", "list", *filters).stdout == (
        "No sessions on rigetti.* with status executing whose names begin with 'x' "
        "in the last 36 h.\n"
    )
    assert scene.read("sessions", "list", *filters) == []


def test_unknown_status_is_a_usage_error(scene: Scene) -> None:
    shown = scene.call("sessions", "list", "--status", "Succeded")
    assert shown.exit_code == 2
    assert "Unknown status 'Succeded': use one of queued, running, done," in shown.stderr
    assert "or a word of the service: Queued, Waiting, Executing," in shown.stderr


def test_a_session_is_shown_with_its_jobs(scene: Scene) -> None:
    shown = scene.read("sessions", "show", scene.closed)
    assert shown["jobs"] == {"Succeeded": 2}
    assert shown["name"] == "yesterday"
    assert shown["creation_time"].endswith("+00:00")
    assert "2 Succeeded" in scene.call("sessions", "show", scene.closed).stdout


# Ids


def test_the_first_six_characters_of_an_id_suffice(scene: Scene) -> None:
    assert scene.read("sessions", "show", scene.closed[:6])["id"] == scene.closed


@pytest.mark.parametrize("given", ["", " ", "00000"])
@pytest.mark.parametrize(
    "command",
    [
        ["sessions", "close", "--yes"],
        ["sessions", "show"],
        ["sessions", "wait"],
        ["jobs", "cancel", "--yes"],
        ["jobs", "result"],
        ["jobs", "list", "--session"],
    ],
    ids=" ".join,
)
def test_an_empty_or_short_id_is_refused(command: list[str], given: str, scene: Scene) -> None:
    shown = scene.call(*command, given)
    assert shown.exit_code == 2
    is_empty = "--session" in command and not given.strip()
    assert ("is empty" if is_empty else "at least its first 6 characters") in shown.stderr


def test_an_ambiguous_prefix_is_refused(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "_MIN_PREFIX", 0)
    shown = scene.call("sessions", "close", "--yes", "")
    assert shown.exit_code == 2
    assert "sessions begin with '': give more characters." in shown.stderr


@pytest.mark.parametrize("given", [MISSING, "nobody"])
def test_unknown_id_is_reported_in_one_sentence_with_exit_code_1(given: str, scene: Scene) -> None:
    shown = scene.call("sessions", "show", given)
    assert (shown.stdout, shown.exit_code) == ("", 1)
    (sentence,) = shown.stderr.splitlines()
    assert sentence.startswith(f"Error: This workspace has no session {given}: ")


# Watching


def test_watching_a_session_that_succeeded_ends_with_exit_code_0(scene: Scene) -> None:
    shown = scene.call("sessions", "watch", scene.closed)
    assert (shown.stdout, shown.exit_code) == ("Succeeded: 2 Succeeded\n", 0)
    assert scene.call("sessions", "wait", scene.closed).exit_code == 0


def test_waiting_for_a_session_that_did_not_succeed_ends_with_exit_code_1(scene: Scene) -> None:
    with SessionPool(scene.server.workspace(), name="left") as pool:
        session = pool.session("ionq.qpu.aria-1").id
        scene.server.clock.advance(601)
        shown = scene.call("sessions", "wait", session, "--json")
    assert (shown.stderr, shown.exit_code) == ("", 1)
    assert [each["status"] for each in json.loads(shown.stdout)] == ["TimedOut"]


def test_watching_yields_only_changes_until_the_session_has_ended() -> None:
    clock = ManualClock()
    story = []
    with SessionPool(LocalWorkspace(clock=clock), clock=clock) as pool:
        session = pool.session("local.simulator")
        for jobs in watch(pool.get_session(session.id), 5.0, clock):
            story.append(dict(jobs))
            if len(story) == 1:
                AzureSessionSampler("local.simulator", pool=pool).run(FLIP)
    assert story == [{}, {"Succeeded": 1}, {"Succeeded": 1}]
    assert clock.monotonic() >= 600


# Closing


def test_a_session_is_closed_with_yes(scene: Scene) -> None:
    with SessionPool(scene.server.workspace()) as pool:
        session = pool.session("ionq.simulator").id
        (closed,) = scene.read("sessions", "close", session, "--yes")
    assert (closed["id"], closed["status"]) == (session, "Succeeded")


@pytest.mark.parametrize("choice", ["id", "name"])
def test_without_yes_and_a_terminal_no_session_is_closed(choice: str, scene: Scene) -> None:
    with SessionPool(scene.server.workspace(), name="colleague") as pool:
        session = pool.session("ionq.simulator")
        arguments = [session.id] if choice == "id" else ["--name", "colleague"]
        shown = scene.call("sessions", "close", *arguments)
        assert shown.exit_code == 2
        assert f"add --yes to close {session.id}" in shown.stderr
        assert session.refresh().is_open


@pytest.mark.parametrize(("answer", "is_open"), [("n\n", True), ("\n", True), ("y\n", False)])
def test_on_a_terminal_the_user_is_asked(
    answer: str, is_open: bool, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "is_interactive", lambda: True)
    with SessionPool(scene.server.workspace(), name="asked") as pool:
        session = pool.session("ionq.simulator")
        shown = scene.call("sessions", "close", session.id[:8], answer=answer)
        assert session.id in shown.stderr
        assert "Do you want to close it?" in shown.stderr
        assert shown.exit_code == (1 if is_open else 0)
        assert session.refresh().is_open is is_open


def test_a_refusal_for_one_session_leaves_none_of_the_others_out(server: EmulatorServer) -> None:
    first, second = (
        call_on(server, "sessions", "open", "--target", target).stdout.strip()
        for target in ("rigetti.sim.qvm", "ionq.simulator")
    )
    server.faults.add("close", status=400, message="Not this one.")
    shown = call_on(server, "sessions", "close", first, second, "--yes")
    assert shown.exit_code == 1
    assert f"Not closed: {first}. The first reason:" in shown.stderr
    still_open = call_on(server, "sessions", "list", "--status", "open", "--json")
    assert [session["id"] for session in json.loads(still_open.stdout)] == [first]


def test_nothing_is_closed_if_one_of_the_ids_is_unknown(scene: Scene) -> None:
    with SessionPool(scene.server.workspace()) as pool:
        session = pool.session("ionq.simulator")
        assert scene.call("sessions", "close", "--yes", session.id, "nobody").exit_code == 1
        assert session.refresh().is_open


def test_closing_an_ended_session_is_reported(scene: Scene) -> None:
    shown = scene.call("sessions", "close", scene.closed)
    assert shown.exit_code == 0
    assert shown.stderr == f"Session {scene.closed} has already ended: Succeeded.\n"


def test_sessions_are_closed_by_their_exact_name(scene: Scene) -> None:
    with SessionPool(scene.server.workspace(), name="night") as pool:
        longer = SessionPool(scene.server.workspace(), name="nightly")
        with longer:
            session, other = (each.session("ionq.simulator") for each in (pool, longer))
            (closed,) = scene.read("sessions", "close", "--name", "night", "--yes")
            assert closed["id"] == session.id
            assert other.refresh().is_open
    shown = scene.call("sessions", "close", "--name", "night", "--yes")
    assert shown.stdout == "No open sessions named 'night'.\n"


@pytest.mark.parametrize("arguments", [[], ["--name", ""], ["--orphans", "--journal", ""]])
def test_closing_needs_to_know_which_sessions(arguments: list[str], scene: Scene) -> None:
    shown = scene.call("sessions", "close", "--yes", *arguments)
    assert shown.exit_code == 2
    assert scene.call("sessions", "show", scene.open).exit_code == 0
