"""The language of lists: every form the SDK writes, and nothing that it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, overload
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirq_azure_sessions.emulator.query import FIELDS, parse_filter, select
from cirq_azure_sessions.emulator.responses import ApiError


@dataclass(frozen=True)
class Item:
    number: int
    name: str
    state: str

    def read(self, field: str) -> Any:
        values = {
            "Name": self.name,
            "State": self.state,
            "Target": "ionq.simulator",
            "ProviderId": "ionq",
            "ItemType": "Job",
            "JobType": "QuantumComputing",
            "CreationTime": datetime(2024, 4, 1, tzinfo=UTC).timestamp() + self.number,
        }
        return values[field]


def read(item: Item, field: str) -> Any:
    return item.read(field)


SUCCEEDED = Item(0, "Job 1", "Succeeded")
FAILED = Item(1, "Other's job", "Failed")
FAILURES = Item(2, "Job 3", "Failure(s)")


@pytest.mark.parametrize(
    ("text", "matching"),
    [
        ("startswith(Name, 'Job')", [SUCCEEDED, FAILURES]),
        ("startswith(Name, 'Other''s')", [FAILED]),
        ("(State eq 'Succeeded')", [SUCCEEDED]),
        ("(State eq 'Succeeded' or State eq 'Failed')", [SUCCEEDED, FAILED]),
        # What Python 3.11 and later make of an enum in the SDK.
        ("(State eq 'JobStatus.SUCCEEDED')", [SUCCEEDED]),
        ("(State eq 'SessionStatus.FAILURE_S_')", [FAILURES]),
        ("(State eq 'Failure(s)')", [FAILURES]),
        ("(ItemType eq 'Session')", []),
        ("(JobType eq 'QuantumComputing') and (State eq 'Failed')", [FAILED]),
        ("(ProviderId eq 'IonQ' or ProviderId eq 'rigetti')", [SUCCEEDED, FAILED, FAILURES]),
        ("(Target eq 'ionq.test' or Target eq 'ionq.qpu')", []),
        ("CreationTime ge 2024-04-01 and CreationTime le 2024-04-01", [SUCCEEDED]),
        ("CreationTime gt 2024-04-01T00:00:01Z", [FAILURES]),
        ("CreationTime ge 2024-04-02", []),
        ("startswith(Name, 'Job') and (State ne 'Succeeded')", [FAILURES]),
    ],
)
def test_filters_that_the_sdk_writes(text: str, matching: list[Item]) -> None:
    matches = parse_filter(text)
    assert [item for item in (SUCCEEDED, FAILED, FAILURES) if matches(item.read)] == matching


@pytest.mark.parametrize(
    "text",
    [
        "Name",
        "Name eq",
        "Name eq Job",
        "Name like 'Job'",
        "Colour eq 'red'",
        "startswith(CreationTime, 'Job')",
        "endswith(Name, 'Job')",
        "startswith(Name, 'it's')",
        "(State eq 'Failed'",
        "State eq 'Failed')",
        "State eq 'Failed' State eq 'Failed'",
        "CreationTime ge yesterday",
        "CreationTime ge 2024-13-01",
        "Name eq 'a' and",
        "Name eq 'a' ; drop",
        "(" * 500 + "Name eq 'a'" + ")" * 500,
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ApiError):
        parse_filter(text)


def test_a_refusal_is_a_sentence_that_names_the_place() -> None:
    with pytest.raises(ApiError) as refusal:
        parse_filter("State eq 'Failed' State eq 'Failed'")
    assert refusal.value.message == (
        "The filter is not understood. "
        "Line 1, column 19: there should be the end instead of 'State'."
    )


@given(st.text())
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    try:
        matches = parse_filter(text)
    except ApiError:
        return
    assert matches(SUCCEEDED.read) in (True, False)


@given(st.dictionaries(st.sampled_from(["filter", "orderby", "skip", "top"]), st.text()))
def test_any_parameters_select_a_page_or_are_refused(parameters: dict[str, str]) -> None:
    try:
        page, _ = select(ITEMS, {**VERSION, **parameters}, read)
    except ApiError:
        return
    assert len(page) <= 100


@pytest.mark.parametrize("orderby", ["Colour asc", "Name upwards", "Name asc asc", "asc"])
def test_an_unknown_order_is_refused(orderby: str) -> None:
    with pytest.raises(ApiError):
        select(ITEMS, {"orderby": orderby}, read)


ITEMS = [Item(number, f"{number % 7}", "Waiting") for number in range(250)]
VERSION = {"api-version": "2025-12-01-preview"}


def turn_pages(parameters: Mapping[str, str], *, newest_first: bool = False) -> list[Item]:
    found: list[Item] = []
    following: str | None = ""
    while following is not None:
        page, following = select(ITEMS, {**VERSION, **parameters}, read, newest_first=newest_first)
        assert len(page) <= min(int(parameters.get("top", 100)), 100)
        found += page
        parameters = dict(parse_qsl(following))
    return found


@given(top=st.integers(1, 120), newest_first=st.booleans(), matching=st.booleans())
def test_pages_show_every_item_once_and_in_order(
    top: int, newest_first: bool, matching: bool
) -> None:
    texts = {"filter": "CreationTime ge 2024-04-01"} if matching else {}
    found = turn_pages({"top": str(top), **texts}, newest_first=newest_first)
    assert found == (ITEMS[::-1] if newest_first else ITEMS)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("direction", ["asc", "desc", ""])
def test_every_field_sorts_both_ways(field: str, direction: str) -> None:
    found = turn_pages({"orderby": f"{field} {direction}".strip()})
    values = [item.read(field) for item in found]
    assert values == sorted(values, reverse=direction == "desc")
    assert sorted(item.number for item in found) == list(range(250))


def test_the_link_to_the_next_page_repeats_the_question_in_the_recorded_form() -> None:
    parameters = {"filter": "startswith(Name, 'a b')", "orderby": "Name desc", "top": "10"}
    items = [Item(number, "a b", "Waiting") for number in range(11)]
    _, following = select(items, {**VERSION, **parameters}, read)
    assert following == (
        "filter=startswith(Name%2c%20%27a%20b%27)&orderby=Name%20desc&top=10&skip=10"
        "&api-version=2025-12-01-preview"
    )


class Watched(Sequence[Item]):
    """A long list that counts which of its items were looked at."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.seen = 0

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, int):
            self.seen += 1
            return Item(index, str(index), "Waiting")
        return [self[number] for number in range(*index.indices(self.length))]


@pytest.mark.parametrize(
    "parameters",
    [
        {"skip": "0"},
        {"skip": "19000"},
        {"skip": "19950", "orderby": "CreationTime desc"},
        {"skip": "30000"},
    ],
)
def test_a_page_costs_the_same_in_a_long_list(parameters: dict[str, str]) -> None:
    items = Watched(20_000)
    page, _ = select(items, {**VERSION, **parameters}, read)
    assert items.seen <= 101
    assert len(page) == min(100, max(20_000 - int(parameters["skip"]), 0))


def test_a_search_ends_with_its_page() -> None:
    items = Watched(20_000)
    parameters = {"filter": "startswith(Name, '1')", "top": "10"}
    page, following = select(items, {**VERSION, **parameters}, read)
    assert len(page) == 10
    assert following is not None
    assert items.seen <= 500
