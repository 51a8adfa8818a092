"""Tables as they look in a terminal of 80 columns."""

from __future__ import annotations

import io

import cirq
import numpy as np
from rich.console import Console, RenderableType

from cirq_azure_sessions.cli.demo import stats_table
from cirq_azure_sessions.cli.tables import (
    changes_in_words,
    detail_table,
    histogram_table,
    item_table,
    quota_table,
    results_as_json,
    sweep_table,
)
from cirq_azure_sessions.model import Job, JobStatus, Quota
from cirq_azure_sessions.results.histogram import Histogram


def shown(table: RenderableType, width: int = 80) -> list[str]:
    printed = io.StringIO()
    Console(file=printed, width=width).print(table)
    return [line.rstrip() for line in printed.getvalue().splitlines()]


def points(bits: list[list[int]]) -> list[cirq.Result]:
    return [
        cirq.ResultDict(
            params=cirq.ParamResolver({"theta": i / 2}),
            measurements={"m": np.array(point).reshape(-1, 1)},
        )
        for i, point in enumerate(bits)
    ]


def test_bits_stand_under_the_names_of_their_keys() -> None:
    histogram = Histogram(("long_name", "c"), {"01 1": 3, "11 0": 1}, 4)
    header, first, second = shown(histogram_table(histogram))
    assert header == "long_name c  count  fraction"
    assert first.startswith("01        1      3    0.7500  █")
    assert second.startswith("11        0      1    0.2500  █")


def test_overlong_key_names_are_shown_below() -> None:
    keys = tuple(f"measurement_{i}" for i in range(5))
    header, _, *legend = shown(histogram_table(Histogram(keys, {"0 0 0 0 0": 1}, 1)))
    assert header == "outcome    count  fraction"
    assert " ".join(legend) == f"An outcome shows {' '.join(keys)}."


def test_rare_outcomes_are_put_together() -> None:
    counts = {f"{i:05b}": 40 - i for i in range(32)}
    *_, last = shown(histogram_table(Histogram(("m",), counts, sum(counts.values()))))
    assert last.split() == ["8", "others", "100", "0.1276"]


def test_sweep_table_has_a_row_per_point_and_a_column_per_outcome() -> None:
    assert shown(sweep_table(points([[0, 0], [0, 1], [1, 1]]))) == [
        "theta       0       1",
        "    0  1.0000  0.0000",
        "  0.5  0.5000  0.5000",
        "    1  0.0000  1.0000",
        "Fractions of the outcomes of m.",
    ]


def test_a_sweep_shows_the_number_of_hidden_outcomes() -> None:
    results = [cirq.ResultDict(params=None, measurements={"m": np.arange(9).reshape(-1, 1)})]
    header, *_, legend = shown(sweep_table(results))
    assert len(header.split()) == 6
    assert legend == "Fractions of the outcomes of m; 3 more are rarer."


def test_json_names_the_job_and_session_of_a_point_or_null() -> None:
    (point,) = results_as_json("local.simulator", points([[1]]))["points"]
    assert point == {
        "params": {"theta": 0.0},
        "repetitions": 1,
        "counts": {"1": 1},
        "job_id": None,
        "session_id": None,
    }


def test_statistics_that_are_zero_are_left_out() -> None:
    stats = {"sessions_opened": 2, "sessions_timed_out": 1, "sessions_lost": 0, "jobs_failed": 3}
    assert shown(stats_table(stats)) == ["sessions  2 opened, 1 timed out", "jobs      3 failed"]


def test_control_characters_of_a_name_are_shown_as_escapes() -> None:
    assert shown(detail_table({"name": "\x1b[2Jcleared\r\nid  1"})) == [
        r"name  \x1b[2Jcleared\r\nid  1"
    ]


def test_control_characters_of_a_key_are_shown_as_escapes() -> None:
    for name in ("m\x1b[2J", "m\x1b[2J" * 20):
        printed = "\n".join(shown(histogram_table(Histogram((name,), {"1": 1}, 1))))
        assert r"\x1b[2J" in printed
        assert "\x1b" not in printed


def test_a_narrow_terminal_breaks_ids_before_words() -> None:
    job = Job("9ab2f100-" * 4, "ionq.qpu.aria-1", "", JobStatus.SUCCEEDED, creation_time=0.0)
    header, first, *rest = shown(item_table([job], 60.0), 60)
    assert header.split() == ["id", "target", "status", "age"]
    assert first.split()[1:] == ["ionq.qpu.aria-1", "Succeeded", "1", "min"]
    assert first.split()[0] + "".join(rest).strip() == job.id


def test_quotas_keep_their_words_on_a_narrow_terminal() -> None:
    quota = Quota("concurrent_dft_jobs", "Subscription", "microsoft-elements", 0, 0, 5)
    assert shown(quota_table([quota]), 60)[-2:] == [
        "microsoft-elements           Subscription     0     0      5",
        "concurrent_dft_jobs",
    ]


def test_no_part_of_a_quota_is_lost_on_a_very_narrow_terminal() -> None:
    quota = Quota("ehqc", "Workspace", "quantinuum", 123456, 3, 1e7, "Monthly")
    printed = "".join("".join(shown(quota_table([quota]), 40)).split())
    assert all(part in printed for part in ("123456", "1e+07", "limit", "quantin", "Mon"))


def test_details_are_shown_whole_on_a_narrow_terminal() -> None:
    lines = shown(detail_table({"name": "x" * 50}), 40)
    assert "".join(lines).split() == ["name", "x" * 34, "x" * 16]


def test_counts_show_by_how_much_they_changed() -> None:
    before = {"Executing": 3, "Waiting": 2}
    now = {"Executing": 3, "Succeeded": 2}
    assert changes_in_words(now, before) == "3 Executing, 2 Succeeded (+2), 0 Waiting (-2)"
    assert changes_in_words(now, now) == "3 Executing, 2 Succeeded"
