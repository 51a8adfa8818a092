"""When it is worth a request to look for the ends of jobs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirq_azure_sessions.job_durations import JobDurations


def _after(*durations: float) -> JobDurations:
    known = JobDurations()
    for duration in durations:
        known.learn(duration)
    return known


@given(
    durations=st.lists(st.floats(0, 1e5), max_size=40),
    ages=st.lists(st.floats(0, 1e5), min_size=1, max_size=40),
    since_last_look=st.floats(0, 30),
)
def test_looks_are_between_a_twentieth_of_a_second_and_half_a_minute_apart(
    durations, ages, since_last_look
):
    now, last_look = 1e6, 1e6 - since_last_look
    look = _after(*durations).next_look([now - age for age in ages], last_look)
    assert 0.05 - 1e-6 <= look - last_look <= 30.0 + 1e-6


def test_the_first_look_is_when_jobs_are_expected_to_end():
    assert _after(10.0, 10.0).next_look([100.0], last_look=100.0) == pytest.approx(110.0)


def test_jobs_that_end_at_about_the_same_time_are_seen_with_one_look():
    known = _after(10.0, 10.0)
    assert known.next_look([0.0, 0.3, 0.9, 5.0], last_look=1.0) == pytest.approx(10.9)


def test_durations_that_are_about_the_same_count_as_the_longest_of_them():
    assert _after(10.0, 9.8, 10.2).next_look([0.0], last_look=0.0) == pytest.approx(10.2)


def test_where_durations_differ_the_quickest_count():
    assert _after(10.0, 20.0, 300.0).next_look([0.0], last_look=0.0) == pytest.approx(10.0)


def test_a_look_is_for_a_quarter_of_the_jobs():
    ends_each_second = [float(second) for second in range(1, 9)]
    look = _after(8.0).next_look(ends_each_second, last_look=8.5)
    assert look == pytest.approx(10.0)


def test_overdue_jobs_are_looked_for_in_steps_that_grow():
    known = _after(10.0)
    assert known.next_look([0.0], last_look=10.5) == pytest.approx(11.5)
    assert known.next_look([0.0], last_look=50.0) == pytest.approx(60.0)
    assert known.next_look([0.0], last_look=5000.0) == pytest.approx(5030.0)


def test_one_straggler_does_not_hasten_looks_for_the_others():
    known = _after(10.0)
    others = [100.0] * 7
    assert known.next_look([80.0, *others], last_look=100.0) == pytest.approx(110.0)


def test_without_any_experience_looks_follow_the_age_of_the_jobs():
    known = _after()
    assert known.next_look([0.0], last_look=0.0) == pytest.approx(0.05)
    assert known.next_look([0.0], last_look=20.05) == pytest.approx(25.05)
