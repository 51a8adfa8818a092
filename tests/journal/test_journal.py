"""What a journal remembers, for whom, and who may read it."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
from children import NEEDS_FORK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cirq_azure_sessions import Journal, JournalError, ManualClock, ResultFormatError
from cirq_azure_sessions.journal import file as file_module
from cirq_azure_sessions.journal import rows
from cirq_azure_sessions.journal.rows import EntryState, JournalEntry
from cirq_azure_sessions.model import Cost, Job, JobRequest, JobStatus, SessionRequest

OUTPUT = b'{"histogram":{"0":0.5,"7":0.5}}'
HOME = "/subscriptions/1/resourcegroups/2/providers/microsoft.quantum/workspaces/home"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def ask(fingerprint: str, job_id: str) -> JobRequest:
    return JobRequest(
        id=job_id,
        target="ionq.simulator",
        name="job",
        payload=b"PROGRAM",
        input_format="ionq.circuit.v1",
        output_format="ionq.quantum-results.v1",
        input_params={"shots": 500},
        metadata={"layout": "q0"},
        fingerprint=fingerprint,
        places=((fingerprint, 0, 0),),
    )


def job_of(entry: JournalEntry, status: JobStatus = JobStatus.SUCCEEDED) -> Job:
    return Job(
        id=entry.job_id,
        target=entry.target,
        name=entry.name,
        status=status,
        session_id="session",
        output_format=entry.output_format,
        input_params=entry.input_params,
        metadata=entry.metadata,
        creation_time=1.0,
        begin_time=2.0,
        end_time=3.0,
        cost=Cost(12.5, "USD", ({"dimensionId": "gs1q", "amountBilled": 1.0},)),
    )


def claim(journal: Journal, fingerprint: str, job_id: str) -> JournalEntry:
    return asyncio.run(journal._claim(ask(fingerprint, job_id)))


def finish(journal: Journal, entry: JournalEntry, output: bytes = OUTPUT) -> None:
    asyncio.run(journal._finished(entry, job_of(entry), output))


def modes(directory: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()}


# What a later run is handed


def test_a_first_request_is_a_new_job_that_is_on_the_disk_before_anything_is_sent(path: Path):
    with Journal(path, clock=ManualClock(start=100.0)) as journal:
        entry = claim(journal, "bell", "first")
        assert entry.is_new
        assert (entry.job_id, entry.occurrence, entry.state) == ("first", 1, "intended")
        assert entry.written == 100.0
        (found,) = journal.entries()
        assert found == replace(entry, is_new=False)


def test_the_next_run_gets_the_unused_jobs_of_the_first(path: Path):
    with Journal(path) as journal:
        finish(journal, claim(journal, "home", "a"))
        waiting = claim(journal, "waiting", "b")
        journal._accepted(waiting, job_of(waiting, JobStatus.WAITING))
        claim(journal, "lost on the way", "c")
    with Journal(path) as journal:
        home = claim(journal, "home", "x")
        assert home.is_finished
        assert not home.is_new
        assert home.output == OUTPUT
        assert home.metadata == {"layout": "q0"}
        assert home.job == job_of(home)
        waiting = claim(journal, "waiting", "y")
        assert waiting.is_accepted
        assert (waiting.job_id, waiting.session_id) == ("b", "session")
        lost = claim(journal, "lost on the way", "z")
        assert (lost.job_id, lost.state, lost.is_new) == ("c", EntryState.INTENDED, False)


def test_the_same_request_twice_in_one_run_is_two_jobs(path: Path):
    for _ in range(2):
        with Journal(path) as journal:
            jobs = [claim(journal, "bell", job_id).occurrence for job_id in "ab"]
            assert jobs == [1, 2]
            assert journal.summary()["intended"] == 2
        asked_more_often = Journal(path)
        assert [claim(asked_more_often, "bell", job_id).is_new for job_id in "xy"] == [False, False]
        asked_more_often.close()


@pytest.mark.parametrize("state", [EntryState.FAILED, EntryState.CANCELLED])
def test_a_job_without_a_result_is_kept_and_a_new_one_takes_its_place(
    path: Path, state: EntryState
):
    with Journal(path) as journal:
        entry = claim(journal, "bell", "a")
        journal._ended(entry, state, job_of(entry, JobStatus.FAILED))
        journal._give_back(entry.places)
        again = claim(journal, "bell", "b")
        assert (again.job_id, again.occurrence, again.is_new) == ("b", 1, True)
        finish(journal, again)
        assert [(one.job_id, one.state) for one in journal.entries()] == [
            ("a", state),
            ("b", "finished"),
        ]
    with Journal(path) as journal:
        assert claim(journal, "bell", "c").job_id == "b"


def test_cancelled_job_is_replaced_by_a_new_one(path: Path):
    with Journal(path) as journal:
        first, second = claim(journal, "bell", "a"), claim(journal, "bell", "b")
        cancelled = EntryState.CANCELLED, job_of(first, JobStatus.CANCELLED)
        new = asyncio.run(journal._renew(first, ask("bell", "c"), *cancelled))
        assert (new.occurrence, new.is_new) == (1, True)
        finish(journal, new)
        finish(journal, second)
    with Journal(path) as journal:
        assert [claim(journal, "bell", job_id).job_id for job_id in "xy"] == ["c", "b"]


def test_a_returned_job_is_reused_in_the_same_run(path: Path):
    with Journal(path) as journal:
        first, second = claim(journal, "bell", "a"), claim(journal, "bell", "b")
        journal._give_back(second.places)
        assert claim(journal, "bell", "c").job_id == "b"
        journal._give_back([*first.places, *second.places])
        assert [claim(journal, "bell", job_id).job_id for job_id in "de"] == ["a", "b"]


@pytest.mark.parametrize(
    "take",
    [
        lambda journal: journal._claim(ask("bell", "a")),
        lambda journal: journal._take([("bell", [], 500)]),
    ],
)
def test_a_place_is_returned_if_its_caller_was_cancelled(
    path: Path, take: Callable[[Journal], Any]
):
    async def leave(journal: Journal) -> None:
        taking = asyncio.ensure_future(take(journal))
        await asyncio.sleep(0)
        taking.cancel()
        await asyncio.wait({taking})

    with Journal(path) as journal:
        asyncio.run(leave(journal))
        journal.flush()
        assert claim(journal, "bell", "b").occurrence == 1


def test_unreadable_output_is_kept_reported_and_fetched_again_by_the_next_run(
    path: Path,
):
    with Journal(path) as journal:
        entry = claim(journal, "bell", "a")
        finish(journal, entry, b"\x00")
        journal._unavailable(entry, job_of(entry), ResultFormatError("It makes no sense."))
        journal.flush()
        (told,) = journal.entries()
        assert (told.state, told.status, told.output) == ("unavailable", "Succeeded", b"\x00")
        assert (told.code, told.message) == ("ResultFormatError", "It makes no sense.")
    with Journal(path) as journal:
        again = claim(journal, "bell", "b")
        assert again.job_id == "a"
        assert again.is_accepted
        assert not again.is_finished
        finish(journal, again)
        (told,) = journal.entries()
        assert (told.state, told.output, told.code) == ("finished", OUTPUT, "")


def test_foreign_error_is_named_and_not_quoted(path: Path):
    with Journal(path) as journal:
        entry = claim(journal, "bell", "a")
        journal._unavailable(entry, job_of(entry), KeyError("who knows what"))
        journal.flush()
        (told,) = journal.entries()
    assert (told.code, told.message) == ("KeyError", "")


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(
    asked=st.lists(st.sampled_from("abc"), max_size=12),
    stops=st.lists(st.integers(0, 12), max_size=3),
)
def test_stopped_programs_have_one_job_per_request(
    tmp_path_factory: pytest.TempPathFactory, asked: Sequence[str], stops: Sequence[int]
):
    path = tmp_path_factory.mktemp("property") / "journal.db"
    seen: list[str] = []
    for run, stop in enumerate([*stops, len(asked)]):
        with Journal(path) as journal:
            handed = [
                claim(journal, fingerprint, f"{run}-{number}").job_id
                for number, fingerprint in enumerate(asked[:stop])
            ]
            # What an earlier run asked for it asks for again, in the same order, and is the same.
            common = min(len(seen), len(handed))
            assert handed[:common] == seen[:common]
            seen = max(seen, handed, key=len)
            assert len(list(journal.entries())) == len(seen) == len(set(seen))


# Runs, dead and alive


def test_a_live_run_does_not_share_its_jobs(path: Path):
    with Journal(path) as first, Journal(path) as second:
        finish(first, claim(first, "bell", "a"))
        entry = claim(second, "bell", "b")
        assert entry.is_new
        assert entry.occurrence == 2
        first.close()
        assert claim(second, "bell", "c").job_id == "a"


def test_a_job_that_a_live_run_waits_for_is_not_forgotten(path: Path):
    with Journal(path) as live, Journal(path) as journal:
        claim(live, "bell", "a")
        with pytest.raises(JournalError, match="A live run is waiting for job a"):
            journal.forget("a")
        live.close()
        journal.forget("a")
        assert claim(journal, "bell", "b").is_new


def test_a_lost_job_is_handed_to_the_next_run(path: Path):
    with Journal(path) as journal:
        entry = claim(journal, "bell", "a")
        journal._ended(entry, EntryState.LOST, job_of(entry, JobStatus.WAITING))
    with Journal(path) as journal:
        again = claim(journal, "bell", "b")
        assert (again.job_id, again.is_accepted) == ("a", True)


def test_killed_run_is_distinguished_from_a_live_one_even_with_the_same_process_id(
    path: Path,
):
    script = """
        import asyncio, os, signal, sys
        from cirq_azure_sessions import Journal
        from test_journal import claim
        claim(Journal(sys.argv[1]), "bell", "a")
        os.kill(os.getpid(), signal.SIGKILL)
    """
    run_python(script, str(path))
    assert len(list(path.parent.glob("*-run-*"))) == 1
    with sqlite3.connect(path) as file:
        file.execute("UPDATE runs SET pid = ?", (os.getpid(),))
    file.close()
    with Journal(path) as journal:
        assert claim(journal, "bell", "b").job_id == "a"
    assert list(path.parent.glob("*-run-*")) == []


# Not the shared mark: children import this module without the path of tests/support.
@NEEDS_FORK
def test_a_fork_is_a_separate_run_and_its_end_does_not_end_the_parents(path: Path):
    script = """
        import os, sys
        from cirq_azure_sessions import Journal
        from test_journal import claim
        journal = Journal(sys.argv[1])
        claim(journal, "bell", "a")
        if not (child := os.fork()):
            os._exit(claim(journal, "bell", "b").occurrence)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        with Journal(sys.argv[1]) as other:
            print(claim(other, "bell", "c").job_id, claim(other, "bell", "d").job_id)
        journal.close()
    """
    # The child's job is free since it is dead; the parent's is not.
    assert run_python(script, str(path)).split() == ["2", "b", "d"]


@NEEDS_FORK
def test_the_child_of_a_fork_in_mid_transaction_writes_as_well(path: Path):
    script = """
        import os, sys, threading
        from cirq_azure_sessions import Journal
        from test_journal import claim
        journal = Journal(sys.argv[1])
        claim(journal, "bell", "a")
        begun = threading.Event()

        def write():
            with journal._transaction():
                begun.set()
                # Nothing tells that somebody waits in order to fork.
                threading.Event().wait(0.2)

        writer = threading.Thread(target=write)
        writer.start()
        begun.wait()
        if not (child := os.fork()):
            os._exit(claim(journal, "bell", "b").occurrence)
        writer.join()
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    assert run_python(script, str(path)) == "2\n"


@NEEDS_FORK
@pytest.mark.parametrize("work", ["journal._open_file().check()", "journal._is_mixed(1)"])
def test_a_fork_waits_while_the_file_is_read_at_the_start_of_a_call(path: Path, work: str):
    # Else the child may find one of SQLite's locks taken, by a thread that it does not have.
    script = """
        import os, sys, threading
        from cirq_azure_sessions import Journal
        from cirq_azure_sessions.journal.file import JournalFile
        connect = JournalFile._connect
        begun, ends = threading.Event(), []

        def pause():
            if threading.current_thread().name == "reader" and not begun.is_set():
                begun.set()
                # Nothing tells that somebody waits in order to fork.
                threading.Event().wait(0.2)
                ends.append(True)

        def connect_observed(file, uri):
            connection = connect(file, uri)
            connection.set_progress_handler(pause, 1)
            return connection

        JournalFile._connect = connect_observed
        journal = Journal(sys.argv[1])
        reader = threading.Thread(target=lambda: eval(sys.argv[2]), name="reader")
        reader.start()
        begun.wait()
        if not (child := os.fork()):
            os._exit(len(ends))
        reader.join()
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    assert run_python(script, str(path), work) == "1\n"


def test_many_threads_of_one_run_write_at_once(path: Path):
    def use(journal: Journal, number: int) -> None:
        for turn in range(5):
            finish(journal, claim(journal, f"{turn}", f"{number}-{turn}"))

    with Journal(path) as journal:
        threads = [threading.Thread(target=use, args=(journal, number)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert journal.summary()["finished"] == 80
        assert {entry.occurrence for entry in journal.entries()} == set(range(1, 17))


def test_several_processes_may_make_one_journal_at_once(path: Path):
    script = """
        import sys
        from cirq_azure_sessions import Journal
        from test_journal import claim, finish
        sys.stdin.readline()
        with Journal(sys.argv[1]) as journal:
            for number in range(20):
                finish(journal, claim(journal, "bell", f"{sys.argv[2]}-{number}"))
            print("done", flush=True)
            sys.stdin.readline()
    """
    children = [start_python(script, str(path), str(number)) for number in range(3)]
    for child in children:
        tell(child, "begin")
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "done\n", child.communicate()[1]
    for child in children:
        _, errors = child.communicate("end", timeout=60)
        assert child.returncode == 0, errors
    with Journal(path) as journal:
        assert journal.summary()["finished"] == 60
        occurrences = sorted(entry.occurrence for entry in journal.entries())
        assert occurrences == list(range(1, 61))
    with sqlite3.connect(path) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    file.close()


# Runs that shared a journal, done again


PROGRAM = ["x", "y", "x", "z"]


def finished(journal: Journal, entries: Sequence[JournalEntry]) -> None:
    journal.close()


def killed(journal: Journal, entries: Sequence[JournalEntry]) -> None:
    """Leaves the file as `kill -9` does."""
    if journal._run is not None:
        journal._run.lock.abandon()


def interrupted(journal: Journal, entries: Sequence[JournalEntry]) -> None:
    journal._give_back([place for entry in entries for place in entry.places])
    journal.close()


ENDS = [finished, killed, interrupted]


def run_together(
    path: Path,
    order: Sequence[int],
    programs: Sequence[Sequence[str]],
    ends: Sequence[Callable[[Journal, Sequence[JournalEntry]], None]] | None = None,
    name: str = "first",
) -> list[list[str]]:
    """The jobs of runs that take turns in this order, each as often as it stands there."""
    journals = [Journal(path) for _ in programs]
    entries: list[list[JournalEntry]] = [[] for _ in programs]
    for run in order:
        step = len(entries[run])
        if step < len(programs[run]):
            job_id = f"{name}-{run}-{step}"
            entries[run].append(claim(journals[run], programs[run][step], job_id))
    for end, journal, those in zip(ends or repeat(finished), journals, entries, strict=False):
        end(journal, those)
    return [[entry.job_id for entry in those] for those in entries]


def run_alone(path: Path, name: str, program: Sequence[str] = PROGRAM) -> list[str]:
    return run_together(path, [0] * len(program), [program], name=name)[0]


@pytest.mark.parametrize("order", set(itertools.permutations([0] * 4 + [1] * 4)))
def test_runs_that_shared_a_journal_get_the_jobs_of_one_of_them_each(
    path: Path, order: Sequence[int]
):
    shared = run_together(path, order, [PROGRAM] * 2)
    for turn in range(2):
        again = [run_alone(path, f"{turn}-{run}") for run in range(2)]
        assert sorted(again) == sorted(shared)


@pytest.mark.parametrize("reruns", [*itertools.permutations(range(3))])
def test_three_runs_repeated_in_any_order_two_at_a_time_pay_once(path: Path, reruns: Sequence[int]):
    shared = run_together(path, [0, 1, 2] * 4, [PROGRAM] * 3)
    alone = run_alone(path, "alone")
    journals = [Journal(path) for _ in range(2)]
    jobs: list[list[str]] = [[], []]
    for run in [run % 2 for run in reruns] * 4:
        if len(jobs[run]) < 4:
            step = len(jobs[run])
            jobs[run].append(claim(journals[run], PROGRAM[step], f"again-{run}-{step}").job_id)
    for run in range(2):
        while len(jobs[run]) < 4:
            step = len(jobs[run])
            jobs[run].append(claim(journals[run], PROGRAM[step], f"again-{run}-{step}").job_id)
        journals[run].close()
    assert sorted([alone, *jobs]) == sorted(shared)


def test_programs_that_shared_a_journal_get_their_own_jobs_in_either_order(path: Path):
    with Journal(path) as first, Journal(path) as second:
        mine, other = claim(first, "mine", "a").job_id, claim(second, "other", "b").job_id
    for programs in (["mine", "other"], ["other", "mine"]):
        found = {name: run_alone(path, f"again-{name}", [name]) for name in programs}
        assert found == {"mine": [mine], "other": [other]}
    # Also if one program does what two did.
    assert run_alone(path, "both", ["other", "mine"]) == [other, mine]


@pytest.mark.parametrize("lengths", [*itertools.product(range(5), repeat=2)])
@pytest.mark.parametrize("is_swapped", [False, True])
def test_stopped_runs_resume_every_paid_job(path: Path, lengths: Sequence[int], is_swapped: bool):
    order = [1, 0] * 4 if is_swapped else [0, 1] * 4
    shared = run_together(path, order, [PROGRAM[:length] for length in lengths])
    paid = {job_id for jobs in shared for job_id in jobs}
    again = [run_alone(path, f"again-{run}") for run in range(2)]
    # Every job that was paid for is used, and none is submitted while one is free.
    assert paid <= {*again[0], *again[1]}
    assert all(len({*jobs}) == len(PROGRAM) for jobs in again)
    with Journal(path) as journal:
        assert len(list(journal.entries())) <= 2 * len(PROGRAM)
    # From now on nothing is new.
    assert {*run_alone(path, "third")} <= {*again[0], *again[1]}


@pytest.mark.parametrize("is_first", [False, True])
@pytest.mark.parametrize("end", [killed, interrupted])
def test_a_stopped_run_gets_its_own_jobs_again_despite_a_concurrent_run(
    path: Path, end: Callable[[Journal, Sequence[JournalEntry]], None], is_first: bool
):
    ends = [end, finished] if is_first else [finished, end]
    shared = run_together(path, [0, 1] * 4, [PROGRAM] * 2, ends)
    mine, others = shared if is_first else reversed(shared)
    assert run_alone(path, "again") == mine
    # From now on both have had an answer, and the one that is unused the longest comes first.
    assert run_alone(path, "then") == others
    assert run_alone(path, "once more") == mine


CIRCUITS = st.lists(st.sampled_from("xyz"), max_size=5)


@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(CIRCUITS, max_size=6))
def test_the_nth_equal_request_gets_the_nth_job_while_runs_follow_one_another(
    tmp_path_factory: pytest.TempPathFactory, programs: list[list[str]]
):
    path = tmp_path_factory.mktemp("runs") / "journal.db"
    for name, program in enumerate(programs):
        asked: Counter[str] = Counter()
        with Journal(path) as journal:
            for fingerprint in program:
                asked[fingerprint] += 1
                entry = claim(journal, fingerprint, f"{name}-{asked.total()}")
                assert entry.occurrence == asked[fingerprint]


@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_every_job_reaches_a_run_that_finishes_however_often_programs_are_stopped(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
):
    path = tmp_path_factory.mktemp("runs") / "journal.db"
    programs = data.draw(st.lists(CIRCUITS, min_size=2, max_size=3))
    had: set[str] = set()
    left = list(range(len(programs)))
    for attempt in itertools.count():
        ends = [data.draw(st.sampled_from(ENDS[: 3 if attempt < 3 else 1])) for _ in left]
        steps = [
            len(programs[run]) if end is finished else data.draw(st.integers(0, len(programs[run])))
            for run, end in zip(left, ends, strict=True)
        ]
        order = data.draw(st.permutations([n for n, size in enumerate(steps) for _ in range(size)]))
        asked = [programs[run][:size] for run, size in zip(left, steps, strict=True)]
        jobs = run_together(path, order, asked, ends, f"{attempt}")
        had |= {
            job for end, those in zip(ends, jobs, strict=True) if end is finished for job in those
        }
        left = [run for run, end in zip(left, ends, strict=True) if end is not finished]
        if not left:
            break
    with Journal(path) as journal:
        assert {entry.job_id for entry in journal.entries()} == had
        assert len(had) <= sum(map(len, programs))


@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_programs_of_any_kind_that_shared_a_journal_get_every_job_once_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
):
    path = tmp_path_factory.mktemp("runs") / "journal.db"
    programs = data.draw(st.lists(CIRCUITS, min_size=2, max_size=3))
    turns = [run for run, program in enumerate(programs) for _ in program]
    order = data.draw(st.permutations(turns))
    jobs = sorted(itertools.chain(*run_together(path, order, programs)))
    # Some of them are begun again, and killed.
    for program in programs:
        begun = program[: data.draw(st.integers(0, len(program)))]
        run_together(path, [0] * len(begun), [begun], [killed])
    for again in range(3):
        if data.draw(st.booleans()):
            found = run_together(path, data.draw(st.permutations(turns)), programs)
        else:
            runs = data.draw(st.permutations(range(len(programs))))
            found = [run_alone(path, f"{again}-{run}", programs[run]) for run in runs]
        assert sorted(itertools.chain(*found)) == jobs


def test_one_run_replaces_workers_with_one_request_each_in_a_stable_order(path: Path):
    workers = [Journal(path) for _ in range(4)]
    jobs = [claim(worker, "x", f"{number}").job_id for number, worker in enumerate(workers)]
    for worker in workers:
        worker.close()
    for turn in range(3):
        assert run_alone(path, f"{turn}", ["x"] * 4) == jobs


def test_claims_of_one_circuit_do_not_grow_with_the_jobs_that_were_claimed(path: Path):
    asked = {"fingerprint": "x", "run": 1, "occurrence": 1, "repetitions": 500}
    for turn in range(2):
        with Journal(path) as journal:
            for number in range(50):
                claim(journal, "x", f"{turn}-{number}")
            with journal._transaction() as file:
                next_job, next_of_lines, size, place, total = (
                    " ".join(
                        row["detail"] for row in file.execute(f"EXPLAIN QUERY PLAN {query}", asked)
                    )
                    for query in (
                        rows._SELECT_NEXT,
                        rows._SELECT_OF_LINES,
                        rows._SELECT_REPETITIONS,
                        rows._HOLD,
                        rows._ADD_UP.replace("?1", ":fingerprint").replace("?2", ":occurrence"),
                    )
                )
    assert "USING INDEX places_free (fingerprint=?)" in next_job
    found = "USING INDEX places_used (fingerprint=? AND repetitions=? AND answered=?)"
    assert next_of_lines.count(found) == 4
    assert size.count("USING INDEX places_used (fingerprint=?") == 2
    assert total.count("USING PRIMARY KEY (fingerprint=? AND occurrence=?)") == 2
    assert "USE TEMP B-TREE" not in next_of_lines
    assert "USING INDEX places_of_run (run=? AND fingerprint=?)" in place


# Outputs of other ports


@pytest.mark.parametrize("output", [OUTPUT.decode(), bytearray(OUTPUT), memoryview(OUTPUT)])
def test_output_that_is_like_bytes_is_kept_as_bytes(path: Path, output: object):
    with Journal(path) as journal:
        entry = claim(journal, "bell", "a")
        asyncio.run(journal._finished(entry, job_of(entry), output))
        (found,) = journal.entries()
    assert (found.state, found.output) == ("finished", OUTPUT)


@pytest.mark.parametrize("output", [object(), {"histogram": {}}, "\ud800", None])
def test_output_that_cannot_be_stored_is_fetched_again_by_the_next_run(
    path: Path, output: object, caplog: pytest.LogCaptureFixture
):
    async def both(journal: Journal, entry: JournalEntry) -> JournalEntry:
        finished = asyncio.ensure_future(journal._finished(entry, job_of(entry), output))
        neighbour = await journal._claim(ask("ghz", "b"))
        await finished
        return neighbour

    with Journal(path) as journal:
        entry = claim(journal, "bell", "a")
        journal._accepted(entry, job_of(entry))
        assert asyncio.run(both(journal, entry)).is_new
        journal.flush()
    assert "The next run asks the service" in caplog.text
    with Journal(path) as journal:
        again = claim(journal, "bell", "c")
    assert (again.job_id, again.is_accepted, again.is_finished) == ("a", True, False)


# What an idle journal costs


def test_idle_journal_costs_no_thread_and_is_collected(path: Path):
    before = threading.active_count()
    journal = Journal(path)
    claim(journal, "bell", "a")
    journal.flush()
    for thread in threading.enumerate():
        if thread.name == "cirq-azure-sessions-journal":
            thread.join()
    assert threading.active_count() == before
    seen = weakref.ref(journal)
    del journal
    gc.collect()
    assert seen() is None


def test_journal_installs_no_signal_handler(path: Path):
    before = signal.getsignal(signal.SIGTERM)
    with Journal(path) as journal:
        claim(journal, "bell", "a")
        assert signal.getsignal(signal.SIGTERM) is before


def test_notes_that_wait_are_written_at_exit(path: Path):
    script = """
        import sys
        from cirq_azure_sessions import Journal
        from test_journal import claim, job_of
        journal = Journal(sys.argv[1])
        entry = claim(journal, "bell", "a")
        for _ in range(200):
            journal._accepted(entry, job_of(entry))
    """
    run_python(script, str(path))
    with Journal(path) as journal:
        assert claim(journal, "bell", "b").is_accepted


# Sessions


def test_sessions_of_ended_runs_are_adopted_once(path: Path):
    async def open_two(journal: Journal) -> None:
        await journal._opening(SessionRequest("a", "ionq.simulator", "vqe"), HOME)
        await journal._opening(SessionRequest("b", "ionq.simulator", "other"), HOME)
        journal._closed("b")

    def inherited(journal: Journal, workspace: str = HOME) -> list[str]:
        return [one.id for one in asyncio.run(journal._inherit_sessions(workspace))]

    with Journal(path) as first, Journal(path) as second, Journal(path) as third:
        asyncio.run(open_two(first))
        assert inherited(second) == []
        first.close()
        assert inherited(second, "another workspace") == []
        assert second.summary()["sessions_open"] == 1
        assert inherited(second) == ["a"]
        assert inherited(third) == []
        assert inherited(second) == []
        second._closed("a")
        second.flush()
        assert [session.closed is None for session in second.sessions()] == [False, False]


# For people


def test_entries_and_exports_are_complete_and_the_summary_counts(path: Path):
    with Journal(path) as journal:
        finish(journal, claim(journal, "bell", "a"))
        finish(journal, claim(journal, "qir", "b"), b"\xff\x00")
        claim(journal, "ghz", "c")
        assert journal.summary() == {
            "intended": 1,
            "accepted": 0,
            "finished": 2,
            "failed": 0,
            "cancelled": 0,
            "lost": 0,
            "unavailable": 0,
            "forgotten": 0,
            "sessions_open": 0,
        }
        first, second, third = map(json.loads, journal.export())
    assert first["output"] == OUTPUT.decode()
    assert first["cost"] == {
        "total": 12.5,
        "currency": "USD",
        "events": [{"dimensionId": "gs1q", "amountBilled": 1.0}],
    }
    assert second["output"] == "\\xff\x00"
    assert third["output"] is None
    assert [one["job_id"] for one in (first, second, third)] == ["a", "b", "c"]


def test_runs_are_listed_with_their_ends_also_those_that_were_killed(path: Path):
    script = """
        import os, signal, sys
        from cirq_azure_sessions import Journal
        from test_journal import claim
        claim(Journal(sys.argv[1]), "bell", "a")
        os.kill(os.getpid(), signal.SIGKILL)
    """
    run_python(script, str(path))
    with Journal(path, clock=ManualClock(start=100.0)) as second:
        assert [run.ended for run in second.runs()] == [100.0]
        claim(second, "bell", "b")
        with Journal(path) as third:
            killed, alive = third.runs()
    assert killed.pid != alive.pid == os.getpid()
    assert (killed.ended, alive.started, alive.ended) == (100.0, 100.0, None)


def test_reading_does_not_begin_a_run(path: Path):
    with Journal(path) as journal:
        for reading in (journal.entries, journal.sessions, journal.runs, journal.export):
            assert list(reading()) == []
        assert list(path.parent.glob("*-run-*")) == []


# The file


def test_only_the_owner_may_read_the_files(path: Path):
    before = os.umask(0)
    try:
        with Journal(path) as journal:
            claim(journal, "bell", "a")
            assert modes(path.parent) == dict.fromkeys(
                ["journal.db", "journal.db-run-1", "journal.db-shm", "journal.db-wal"], 0o600
            )
        path.chmod(0o644)
        with Journal(path):
            assert modes(path.parent)["journal.db"] == 0o600
    finally:
        os.umask(before)


def test_a_closed_journal_leaves_one_file_and_says_that_it_is_closed(path: Path):
    journal = Journal(path)
    claim(journal, "bell", "a")
    journal.close()
    journal.close()
    assert [file.name for file in path.parent.iterdir()] == ["journal.db"]
    assert repr(journal) == f"Journal({str(path)!r}, closed)"
    with pytest.raises(JournalError, match="is closed: open it again"):
        claim(journal, "bell", "b")


def test_committed_writes_survive_power_loss(path: Path):
    with Journal(path) as journal, journal._transaction() as file:
        assert file.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        # 2 is FULL: the log is synced at every commit.
        assert file.execute("PRAGMA synchronous").fetchone()[0] == 2


def test_an_empty_file_becomes_a_journal(path: Path):
    path.touch(mode=0o600)
    with Journal(path) as journal:
        assert claim(journal, "bell", "a").is_new


def _make_database(path: Path) -> None:
    with sqlite3.connect(path) as file:
        file.execute("CREATE TABLE theirs (x)")
    file.close()


def _make_log_database(path: Path) -> None:
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA application_id = 7")
        file.execute("CREATE TABLE theirs (x)")
    file.close()


def _make_database_in_its_log(path: Path) -> None:
    script = """
        import os, signal, sqlite3, sys
        file = sqlite3.connect(sys.argv[1], isolation_level=None)
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("CREATE TABLE theirs (x)")
        os.kill(os.getpid(), signal.SIGKILL)
    """
    run_python(script, str(path))
    assert path.stat().st_size == 4096


def _make_database_without_tables(path: Path) -> None:
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA user_version = 1")
    file.close()


def _make_journal_with_two_names(path: Path) -> None:
    Journal(path).close()
    path.with_name("copy").hardlink_to(path)


def _make_later_journal(path: Path) -> None:
    Journal(path).close()
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA user_version = 1000")
    file.close()


@pytest.mark.parametrize(
    "make",
    [
        _make_database,
        _make_log_database,
        _make_database_in_its_log,
        _make_database_without_tables,
        _make_journal_with_two_names,
        _make_later_journal,
        lambda path: path.write_text("Dear diary, " * 100),
        lambda path: path.write_text("short"),
        lambda path: path.mkdir(),
        lambda path: os.mkfifo(path),
    ],
    ids=[
        "database",
        "write-ahead log",
        "all in the log",
        "no tables",
        "two names",
        "later version",
        "text",
        "short",
        "folder",
        "pipe",
    ],
)
def test_refused_path_is_unchanged(path: Path, make: Callable[[Path], object]):
    make(path)
    path.chmod(0o755)
    before = path.stat()
    content = path.read_bytes() if path.is_file() else b""
    beside = sorted(path.parent.iterdir())
    with pytest.raises(JournalError, match="cannot be used"):
        Journal(path)
    after = path.stat()
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert (path.read_bytes() if path.is_file() else b"") == content
    assert sorted(path.parent.iterdir()) == beside


@pytest.mark.parametrize("suffix", ["-journal", "-wal", "-shm", "-run-1"])
@pytest.mark.parametrize("is_there", [False, True])
def test_a_foreign_file_next_to_a_journal_is_left_unchanged(
    path: Path, suffix: str, is_there: bool
):
    mine = path.with_name(f"{path.name}{suffix}")
    mine.write_text("my notes")
    mine.chmod(0o644)
    before = mine.stat()
    if is_there:
        path.touch()
    with pytest.raises(JournalError, match=f"{mine.name} next to it belongs to another program"):
        claim(Journal(path), "bell", "a")
    after = mine.stat()
    assert mine.read_text() == "my notes"
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)


def test_journal_under_another_name_is_the_same_journal(path: Path):
    link = path.with_name("link")
    link.symlink_to(path)
    with Journal(path) as journal, Journal(link) as same:
        assert claim(journal, "bell", "a").is_new
        assert claim(same, "bell", "b").is_new
    link.unlink()
    assert sorted(path.parent.iterdir()) == [path]


def test_journal_whose_first_commits_are_in_its_log_only_is_a_journal(path: Path):
    script = """
        import os, signal, sys
        from cirq_azure_sessions import Journal
        from test_journal import claim
        claim(Journal(sys.argv[1]), "bell", "a")
        os.kill(os.getpid(), signal.SIGKILL)
    """
    run_python(script, str(path))
    assert path.with_name("journal.db-wal").stat().st_size
    with Journal(path) as journal:
        assert claim(journal, "bell", "b").job_id == "a"


@pytest.mark.parametrize("version", range(1, len(file_module._VERSIONS)))
def test_journal_of_an_earlier_version_is_brought_up_to_date(path: Path, version: int):
    with sqlite3.connect(path) as file:
        for statement in itertools.chain(*file_module._VERSIONS[:version]):
            file.execute(statement)
        file.execute(f"PRAGMA application_id = {file_module._APPLICATION_ID}")
        file.execute(f"PRAGMA user_version = {version}")
        for number in (1, 2):
            file.execute(
                "INSERT INTO jobs (number, id, fingerprint, occurrence, target, name, "
                "output_format, input_params, metadata, state, written, changed) VALUES "
                "(?, ?, 'bell', ?, 'ionq.simulator', 'job', 'f', '{}', '{}', 'accepted', 1, 1)",
                (number, f"job-{number}", number),
            )
            file.execute(
                "INSERT INTO places (fingerprint, occurrence, job) VALUES ('bell', ?, ?)",
                (number, number),
            )
    file.close()
    with Journal(path) as journal:
        asked = [("any bell", [("bell", 500)], 500)] * 3
        taken = asyncio.run(journal._take(asked))
    jobs = [[each.job_id for each in entries] for _, entries in taken]
    assert jobs == [["job-1"], ["job-2"], []]


def test_journal_is_not_opened_a_second_time_as_a_file_in_this_process(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    # To close any handle on the file ends the locks of SQLite in the whole process.
    with Journal(path):
        monkeypatch.setattr(Path, "open", lambda *args: pytest.fail("opened"))
        Journal(path).close()


def test_journal_path_without_a_directory_or_that_is_one_is_reported(tmp_path: Path):
    with pytest.raises(JournalError, match="No such file or directory"):
        Journal(tmp_path / "nowhere" / "journal.db")
    with pytest.raises(JournalError, match="not a regular file"):
        Journal(tmp_path)
    with pytest.raises(JournalError, match="path of the journal is empty"):
        Journal("")


@pytest.mark.parametrize("mode", [0o400, 0o444])
def test_a_file_that_may_not_be_written_is_one_clear_error(path: Path, mode: int):
    script = """
        import os, sys
        from pathlib import Path
        from cirq_azure_sessions import Journal, JournalError
        from test_journal import claim
        path = Path(sys.argv[1])
        Journal(path).close()
        path.chmod(int(sys.argv[2]))
        if os.getuid() == 0:
            # Nothing is read-only to root.
            os.chown(path, 65534, 65534)
            os.setuid(65534)
        try:
            claim(Journal(path), "bell", "a")
        except JournalError as error:
            print(error)
    """
    # Whoever the program becomes must be able to reach the file.
    for directory in path.parents:
        if directory.owner() == path.parent.owner() and directory.stat().st_mode & 0o077 == 0:
            directory.chmod(0o755)
    assert "it is not writable: check the permissions" in run_python(script, str(path), str(mode))
    assert path.stat().st_mode & 0o777 == 0o400


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="needs two users")
@pytest.mark.parametrize("is_own", [False, True])
def test_a_journal_in_a_read_only_folder_is_readable(path: Path, is_own: bool):
    script = """
        import os, sys
        from pathlib import Path
        from cirq_azure_sessions import Journal
        from test_journal import claim
        path = Path(sys.argv[1])
        with Journal(path) as journal:
            claim(journal, "bell", "a")
        path.chmod(0o444)
        path.parent.chmod(0o555)
        if sys.argv[2] == "True":
            path.chmod(0o600)
            os.chown(path, 65534, 65534)
        os.setuid(65534)
        with Journal(path) as journal:
            print(*[entry.job_id for entry in journal.entries()])
    """
    for directory in path.parents:
        if directory.owner() == path.parent.owner() and directory.stat().st_mode & 0o077 == 0:
            directory.chmod(0o755)
    assert run_python(script, str(path), str(is_own)).strip() == "a"


def test_a_full_disk_is_one_clear_error_and_what_was_recorded_stays(path: Path):
    pytest.importorskip("resource")
    script = """
        import resource, sys
        from cirq_azure_sessions import Journal, JournalError
        from test_journal import claim, finish
        journal = Journal(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        done = 0
        try:
            while done < 1000:
                finish(journal, claim(journal, "bell", str(done)))
                done += 1
        except JournalError as error:
            print(done, type(error.__cause__).__name__, error)
    """
    done, cause, message = run_python(script, str(path)).split(maxsplit=2)
    assert cause == "OperationalError"
    assert "cannot be used: the disk cannot be read or written" in message
    with Journal(path) as journal:
        assert journal.summary()["finished"] in (int(done), int(done) - 1)
        assert int(done) > 5


# Children


def start_python(script: str, *args: str) -> subprocess.Popen[str]:
    here = Path(__file__).parent
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (here, here.parent / "support")))},
    )


def tell(child: subprocess.Popen[str], line: str) -> None:
    assert child.stdin is not None
    child.stdin.write(f"{line}\n")
    child.stdin.flush()


def run_python(script: str, *args: str) -> str:
    child = start_python(script, *args)
    output, errors = child.communicate(timeout=60)
    assert child.returncode in (0, -9), errors
    return output
