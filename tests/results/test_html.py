"""Tables for notebooks: escaped, well formed, and with nothing from outside."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirq_azure_sessions.results.html import Bar, Stats, moment, table


class Page(HTMLParser):
    """What a browser sees: the tags in their order, and the texts; every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_table_has_caption_header_rows_and_footer() -> None:
    page = Page(table("Sessions", ["id", "jobs"], [["a", 1], ["b", None]], below="and 3 more"))
    assert page.texts == ["Sessions", "id", "jobs", "a", "1", "b", "and 3 more"]
    assert page.tags.count("tr") == 3
    assert page.tags.count("td") == 4


def test_table_without_a_header_has_only_rows() -> None:
    assert "th" not in Page(table("Session", [], [["id", "a"]])).tags


def test_statistics_are_a_table_of_nonzero_counts() -> None:
    assert Page(Stats(jobs_failed=0)._repr_html_()).texts == ["Nothing has happened yet"]
    stats = Stats(jobs_submitted=2, jobs_failed=0, cost_USD=0.5)
    texts = ["Statistics", "jobs submitted", "2", "cost USD", "0.5"]
    assert Page(stats._repr_html_()).texts == texts
    assert repr(stats) == repr(dict(stats))


@given(st.lists(st.text(), min_size=1, max_size=3), st.text())
def test_any_cell_content_is_text(cells: list[str], caption: str) -> None:
    plain = Page(table("c", ["h"] * len(cells), [["x"] * len(cells)]))
    assert Page(table(caption, cells, [cells], below="")).tags == plain.tags


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "\"><img src=x onerror='1'>", "&amp;"]
)
def test_names_from_the_service_are_shown_unchanged(name: str) -> None:
    page = Page(table(name, [name], [[name]], below=name))
    assert [text for text in page.texts if text] == [name] * 4


def test_numbers_are_short_and_bars_stay_in_their_cells() -> None:
    html = table("n", ["v"], [[1 / 3], [10**9], [Bar(0.5)], [Bar(7.0)], [Bar(-1.0)]])
    assert ">0.333333<" in html
    assert "width:4.00em" in html
    assert "width:8.00em" in html
    assert "width:0.00em" in html


def test_html_loads_no_external_resources_and_sets_no_colours() -> None:
    html = table("n", ["v"], [[Bar(0.5)]])
    assert not any(word in html for word in ("http", "script", "<style", "class=", "#", "rgb"))


def test_times_are_in_utc() -> None:
    assert moment(1_767_225_600.0) == "2026-01-01 00:00:00 UTC"
    assert moment(None) is None
