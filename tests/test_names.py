"""Names that anybody may choose: data stays data on every way out."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from functools import partial

import cirq
import pytest
import sympy
from services import LOCAL, QUBIT

from cirq_azure_sessions import (
    AzureSessionSampler,
    LocalWorkspace,
    SessionPool,
    UnsupportedTarget,
)
from cirq_azure_sessions.cli.tables import as_values, item_table
from cirq_azure_sessions.model import Job, JobStatus, Session, SessionStatus
from cirq_azure_sessions.watch.progress import SweepProgress
from cirq_azure_sessions.watch.timeline import Timeline
from cirq_azure_sessions.workspaces.azure.documents import without_secrets

NAMES = {
    "mathematics": r"$\frac$",
    "one dollar": "a$b_{",
    "escapes of a terminal": "\x1b[2J\x1b]0;title\x07",
    "a line": "done\nERROR forged",
    "another separator": "done\u2028forged",
    "the other direction": "\u202egnp.exe",
    "HTML": "<script>alert(1)</script>",
    "a formula": '=cmd|"/c calc"!A1',
    "half a character": "\ud83d",
    "a template": "{0} {x} %s",
    "markup": "[bold red]x[/]",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("role", ["symbol", "key"])
def test_a_symbol_or_key_of_any_name_is_shown_and_drawn(name: str, role: str) -> None:
    symbol, key = (name, "m") if role == "symbol" else ("t", name)
    circuit = cirq.Circuit(cirq.X(QUBIT) ** sympy.Symbol(symbol), cirq.measure(QUBIT, key=key))
    sampler = AzureSessionSampler("local.simulator")
    results = sampler.run_sweep(circuit, cirq.Linspace(symbol, 0, 1, 3), 5)
    for text in (repr(results), results._repr_html_(), results[0]._repr_html_()):
        assert text.isprintable()
    assert "<script" not in results._repr_html_() + results[0]._repr_html_()
    results.plot().figure.savefig(io.BytesIO())
    assert len(results.to_dataframe()) == 3


@pytest.mark.parametrize("name", ["\x1b[2J", "a\nb", "\u202eb", "\u2028"], ids=ascii)
@pytest.mark.parametrize("family", ["local", "ionq"])
def test_target_with_control_characters_is_refused(name: str, family: str) -> None:
    target = f"{family}.{name}"
    with SessionPool(LocalWorkspace({target: cirq.Simulator()})) as pool:
        for call in (pool.session, partial(AzureSessionSampler, pool=pool)):
            with pytest.raises(UnsupportedTarget) as refusal:
                call(target)
            assert str(refusal.value).isprintable()
            assert repr(target) in str(refusal.value)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_session_of_any_name_is_shown(name: str) -> None:
    # A pool refuses half a character, which the service might still return.
    with SessionPool(LocalWorkspace(), name=name.replace("\ud83d", "half")) as pool:
        session = pool.session(LOCAL)
        session._item = replace(session._item, name=name)
        for text in (repr(session), session._repr_html_(), pool._repr_html_()):
            assert text.isprintable()
            assert "<script" not in text or text == repr(session)
        cells = [cell for column in item_table([session], 0.0).columns for cell in column.cells]
        assert all(str(cell).isprintable() for cell in cells)
        assert json.loads(json.dumps(as_values(session)))["name"] == name


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_progress_bar_and_timeline_accept_any_status_of_the_service(name: str) -> None:
    job = Job("job", name, name, JobStatus.WAITING, session_id=name)
    with SweepProgress(name) as progress:
        progress.add_points(1)
        progress.job_seen(job)
        progress.job_finished(job.id, done=1, failed=0)
        assert str(progress).replace("\r", "").isprintable()
    session = Session(name, name, name, SessionStatus("Perhaps"))
    timeline = Timeline.of_service([(session, [job])], now=1e9)
    timeline.plot().figure.savefig(io.BytesIO())


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_service_message_is_on_one_line(name: str) -> None:
    assert without_secrets(f"It failed: {name}").isprintable()
