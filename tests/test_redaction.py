"""Redaction of secrets."""

from __future__ import annotations

import json
import string
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cirq_azure_sessions.redaction import redact, redact_bytes

SIGNATURE = "aB3+dE5/gH7iJ9kL1mN3oP5qR7sT9uV1wX3yZ5+bC7d="
URL = "https://account.blob.core.windows.net/job-1/x?sv=2024&se=2030%2D01&sig={}&sr=b"
QUOTES = {
    "in a query": URL.format(quote(SIGNATURE, safe="")),
    "at the end": URL.format(quote(SIGNATURE, safe="")).removesuffix("&sr=b"),
    "first": f"?sig={quote(SIGNATURE, safe='')}&sv=2024",
    "as it is": URL.format(SIGNATURE),
    "in a URL within a URL": "https://other/?u=" + quote(URL.format(SIGNATURE), safe=""),
    "with ampersands as .NET escapes them": URL.format(SIGNATURE)
    .replace("&", r"\u0026")
    .replace("+", r"\u002B"),
    "with everything escaped": URL.format(SIGNATURE)
    .replace("&", r"\u0026")
    .replace("+", r"\u002b")
    .replace("=", r"\u003d")
    .replace("/", r"\/"),
    "in a connection string": f"AccountName=account;AccountKey={SIGNATURE};Suffix=x",
    "as a header": f"Authorization: Bearer {SIGNATURE}",
    "as a token": "eyJhbGciOiJub25l.eyJzdWIiOiJtZSJ9.aB3dE5gH7iJ9kL1mN3oP5qR7sT9uV1wX3yZ5",
}


def pieces(text: str) -> list[str]:
    """What of the signature would be of use: it has a piece of letters and digits in every form."""
    return [piece for piece in ("iJ9kL1mN3oP5qR7sT9uV1wX3yZ5", "aB3", "bC7d") if piece in text]


@pytest.mark.parametrize("form", QUOTES)
def test_redaction_leaves_no_part_of_a_secret(form: str) -> None:
    assert pieces(QUOTES[form])
    assert pieces(redact(f'He said "{QUOTES[form]}".')) == []


@pytest.mark.parametrize("form", QUOTES)
def test_the_text_around_a_secret_stays(form: str) -> None:
    shown = redact(f'{{"before": "{QUOTES[form]}", "after": [1, 2]}}')
    assert shown.startswith('{"before": "')
    assert shown.endswith('", "after": [1, 2]}')


@pytest.mark.parametrize(
    "words",
    ["design=1", "config=2", "sigma=3", "signal", "sig", '{"sig": ["0", "1"]}', "bearer", "eyJ"],
)
def test_words_that_only_resemble_a_secret_are_kept(words: str) -> None:
    assert redact(words) == words


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(string.printable, max_size=9), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(values, st.text(max_size=9), st.sampled_from(sorted(QUOTES)), st.booleans())
def test_redacted_json_is_the_same_json_elsewhere(
    value: Any, words: str, form: str, ascii_only: bool
) -> None:
    """Whatever a provider adds to a result, what it means does not change."""
    assume(redact(json.dumps(value)) == json.dumps(value))
    leak = f"{words} {QUOTES[form]}\n{words}"
    text = json.dumps({"histogram": value, "log": leak, "end": value}, ensure_ascii=ascii_only)
    kept = json.loads(redact_bytes(text.encode()))
    assert pieces(kept["log"]) == []
    assert (kept["histogram"], kept["end"]) == (value, value)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "word", ["sig", "sig=", "eyJ", "eyJ-", "bearer ", "%26sig%3D", "\\", "\\u00", "account_key="]
)
def test_redaction_is_linear_in_the_text(word: str) -> None:
    redact(word * 300_000)


@given(st.binary(), st.binary())
def test_bytes_of_any_encoding_stay_around_a_secret(before: bytes, after: bytes) -> None:
    assume(b"sig" not in (before + after).lower())
    leak = QUOTES["in a query"].encode()
    shown = redact_bytes(before + b'"' + leak + b'"' + after)
    assert shown.startswith(before + b'"https://account.blob')
    assert shown.endswith(b'"' + after)
