"""What exit does to what a process has open."""

from __future__ import annotations

import signal
import sys
from typing import Any

import pytest

from cirq_azure_sessions import process


class _Owner:
    closed = 0

    def _close_at_exit(self) -> None:
        self.closed += 1


def test_only_held_resources_are_closed_at_exit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "_held", set[Any]())
    held, let_go = _Owner(), _Owner()
    process.hold(held)
    process.hold(let_go)
    process.let_go(let_go)
    process._close_held()
    assert (held.closed, let_go.closed) == (1, 0)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")
def test_signals_end_foreign_code_at_once_unless_they_are_ignored() -> None:
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with process.interrupted_at_once():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) is former[signal.SIGINT]
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
