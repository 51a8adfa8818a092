"""The progress bar: what its line says, and what it leaves on a terminal."""

from __future__ import annotations

import gc
import io
import sys
from contextlib import redirect_stderr, suppress
from dataclasses import replace
from typing import Any

import pytest
from terminals import frames, terminal

from cirq_azure_sessions.model import Job, JobStatus
from cirq_azure_sessions.watch.progress import SweepProgress

SESSION = "3fa85f64-5717-4562-b3fc-2c963f66afa6"


def job(name: str, status: JobStatus) -> Job:
    return Job(name, "ionq.simulator", name, status, session_id=SESSION)


def test_line_counts_finished_points_and_jobs_by_state() -> None:
    with redirect_stderr(io.StringIO()), SweepProgress("ionq.simulator") as progress:
        progress.add_points(100)
        for name in "abcde":
            progress.job_seen(job(name, JobStatus.WAITING))
        for name in "abc":
            progress.job_seen(job(name, JobStatus.EXECUTING))
        progress.job_finished("a", done=20, failed=0)
        progress.job_finished("b", done=0, failed=4)
        assert str(progress).startswith("ionq.simulator 3fa85f64 24/100 |")
        assert "| 4 failed; jobs: 2 queued, 1 running 00:00<" in str(progress)


def test_job_that_is_read_twice_is_counted_once() -> None:
    with redirect_stderr(io.StringIO()), SweepProgress("ionq.simulator") as progress:
        progress.add_points(2)
        for _ in range(3):
            progress.job_seen(job("a", JobStatus.EXECUTING))
        assert "| jobs: 1 running 00:00<" in str(progress)


def test_a_job_that_fails_before_it_is_submitted_fails_its_points() -> None:
    with redirect_stderr(io.StringIO()), SweepProgress("ionq.simulator") as progress:
        progress.add_points(2)
        progress.job_finished("a", done=0, failed=1)
        assert "1/2" in str(progress)
        assert "| 1 failed 00:00<" in str(progress)


def test_the_session_is_that_of_the_latest_job() -> None:
    with redirect_stderr(io.StringIO()), SweepProgress("ionq.simulator") as progress:
        progress.add_points(2)
        assert str(progress).startswith("ionq.simulator 0/2 |")
        progress.job_seen(job("a", JobStatus.WAITING))
        progress.job_seen(replace(job("b", JobStatus.WAITING), session_id="abcdefgh-1"))
        progress.job_seen(job("a", JobStatus.EXECUTING))
        assert str(progress).startswith("ionq.simulator abcdefgh 0/2 |")


def test_session_is_omitted_first_in_80_columns() -> None:
    with terminal(80), SweepProgress("ionq.simulator") as progress:
        progress.add_points(1000)
        for number in range(340):
            progress.job_seen(job(str(number), JobStatus.WAITING))
        for number in range(280):
            progress.job_seen(job(str(number), JobStatus.EXECUTING))
        for number in range(240):
            progress.job_finished(str(number), done=number >= 10, failed=number < 10)
        line = str(progress)
    assert line.startswith("ionq.simulator 240/1000 |")
    assert "| 10 failed; 60 queued, 40 running 00:0" in line
    assert len(line) <= 80


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (80, "quantinuum.sim.h2-1e 3fa85f64 0/30 |"),
        (64, "quantinuum.sim.h2-1e 0/30 |"),
        (56, "quantinuum.sim.h2-1e 0/30 29 queued, 1 running 00:00"),
        (36, "0/30 29 queued, 1 running 00:00"),
    ],
)
def test_a_narrow_line_is_not_cut_off(columns: int, expected: str) -> None:
    with terminal(columns), SweepProgress("quantinuum.sim.h2-1e") as progress:
        progress.add_points(30)
        for number in range(30):
            progress.job_seen(job(str(number), JobStatus.WAITING))
        progress.job_seen(job("0", JobStatus.EXECUTING))
        line = str(progress)
    assert line.startswith(expected)
    assert "29 queued, 1 running 00:00" in line
    assert len(line) <= columns


def test_a_terminal_of_unknown_width_is_wide() -> None:
    with terminal(0) as written, SweepProgress("ionq.simulator") as progress:
        progress.add_points(1)
        progress.job_seen(job("a", JobStatus.EXECUTING))
        progress.job_finished("a", done=1, failed=0)
    assert frames("".join(written))[-1].endswith("| 1 done in 00:00")


def test_the_last_line_of_a_narrow_terminal_is_not_cut_off() -> None:
    with terminal(48) as written, SweepProgress("quantinuum.sim.h2-1e") as progress:
        progress.add_points(30)
        progress.job_seen(job("a", JobStatus.EXECUTING))
        progress.job_finished("a", done=29, failed=1)
    assert frames("".join(written))[-1] == "quantinuum.sim.h2-1e 29 done, 1 failed in 00:00"


def test_no_picture_is_wider_than_the_terminal() -> None:
    with terminal(40) as written, SweepProgress("quantinuum.sim.h2-1e") as progress:
        progress.add_points(1000)
        for number in range(200):
            progress.job_seen(job(str(number), JobStatus.WAITING))
    assert max(map(len, frames("".join(written)))) <= 40


def test_interruption_removes_the_bar() -> None:
    progress = SweepProgress("ionq.simulator")
    with terminal(80) as written:
        progress.add_points(4)
        progress.job_seen(job("a", JobStatus.WAITING))
        error = KeyboardInterrupt()
        progress.__exit__(type(error), error, None)
        # The event loop has not heard of it yet.
        progress.job_finished("a", done=0, failed=1)
    assert "\n" not in "".join(written)
    assert "".join(written).endswith("\r")


class Notebook:
    """A kernel of which only the output below a cell is of interest, as IPython calls it."""

    kernel = object()

    def __init__(self) -> None:
        self.output = ""

    def get_ipython(self) -> Notebook:
        return self

    def display(self, data: dict[str, str], **options: Any) -> Notebook:
        self.update(data, raw=True)
        return self

    def update(self, data: dict[str, str], *, raw: bool) -> None:
        self.output = data["text/plain"]


def test_notebook_bar_is_text_that_survives_reopening(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    notebook = Notebook()
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    monkeypatch.setitem(sys.modules, "IPython.display", notebook)
    with SweepProgress("ionq.simulator") as progress:
        progress.add_points(2)
        progress.job_seen(job("a", JobStatus.WAITING))
        assert "0/2 |" in notebook.output
        progress.job_finished("a", done=2, failed=0)
    # tqdm closes a bar that is no longer referenced.
    del progress
    gc.collect()
    assert notebook.output.startswith("ionq.simulator 3fa85f64 |█")
    assert "| 2 done in 00:0" in notebook.output
    with suppress(KeyboardInterrupt), SweepProgress("ionq.simulator") as progress:
        progress.add_points(2)
        raise KeyboardInterrupt
    assert notebook.output == ""
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp850", "cp932", "iso-8859-1"])
def test_bar_is_shown_on_a_stream_that_lacks_characters(encoding: str) -> None:
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding, write_through=True)
    with redirect_stderr(stream), SweepProgress("local.\N{PARTY POPPER}") as progress:
        progress.add_points(2)
        progress.job_finished("a", done=2, failed=0)
    assert r"local.\U0001f389 |##########| 2 done" in written.getvalue().decode(encoding)


def _closed() -> io.TextIOBase:
    stream = io.TextIOWrapper(io.BytesIO(), "utf-8")
    stream.close()
    return stream


class _Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise RuntimeError("The window of this log is gone.")


# A program with windows has no streams at all on some systems.
@pytest.mark.parametrize("stream", [_closed(), _Broken(), None])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_stream_that_cannot_be_written_does_not_fail_a_call(stream: Any) -> None:
    with redirect_stderr(stream), SweepProgress("local.simulator") as progress:
        progress.add_points(2)
        progress.job_finished("a", done=2, failed=0)
