"""What exit does to what a process has open."""

from __future__ import annotations

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
