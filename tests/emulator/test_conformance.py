"""The emulator answers as the service did: every recording, replayed request by request."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import recordings
from comparison import differences
from recordings import Exchange
from replay import Replay

from cirq_azure_sessions import emulator

pytestmark = pytest.mark.skipif(
    not recordings.FOLDER.is_dir(),
    reason="the recordings lie beside the checkout, and are not here",
)

# What is known to differ: the reason is in the emulator's documentation, under the same name. Each
# is a recording, a path and a difference, as regular expressions.
KNOWN_DIFFERENCES = {
    "older-service": (
        "list_session_jobs_filtered_by_name",
        ".*/sessions(/.*/jobs)?",
        r".*\.(jobPriority|lastModifiedTime|containerUri|inputDataUri|outputDataUri): .*"
        "|value: in this order, in another",
    ),
    "sweep": (
        "list_session_jobs_filtered_by_name",
        ".*/sessions",
        r"value\[f2ba4472-eb30-11ef-9dff-5414f37777d8\]\.endExecutionTime: .*",
    ),
    "catalogue": (
        ".*",
        ".*/providerStatus",
        r"value\[\S+\]: (missing, there|there, missing)"
        r"|value\[\S+\]\.statusPage: .*"
        "|value: in this order, in another",
    ),
}


def name_of(recording: str, exchange: Exchange, difference: str) -> str | None:
    """The name of a known difference, or None."""
    for name, patterns in KNOWN_DIFFERENCES.items():
        texts = (recording, exchange.path, difference)
        if all(re.fullmatch(pattern, text) for pattern, text in zip(patterns, texts, strict=True)):
            return name
    return None


def replayed_differences(recording: str) -> Iterator[tuple[Exchange, str]]:
    with Replay(recordings.load(recording)) as replay:
        for exchange, response in replay.answers():
            for difference in differences(exchange, response):
                yield exchange, difference


@pytest.mark.parametrize("recording", recordings.names())
def test_every_answer_is_the_recorded_one(recording: str) -> None:
    unknown = [
        f"{exchange.method} {exchange.path.rpartition('workspaces/')[2]}: {difference}"
        for exchange, difference in replayed_differences(recording)
        if name_of(recording, exchange, difference) is None
    ]
    assert not unknown, "\n".join(["what was recorded, what the emulator says:", *unknown])


def test_the_documentation_gives_the_reason_of_every_known_difference() -> None:
    documented = re.findall(r"^`([a-z-]+)`$", emulator.__doc__ or "", re.MULTILINE)
    assert documented == list(KNOWN_DIFFERENCES)


def test_no_known_difference_is_out_of_date() -> None:
    found = {
        name_of(recording, exchange, difference)
        for recording in ("list_session_jobs_filtered_by_name", "plugins_cirq_get_targets")
        for exchange, difference in replayed_differences(recording)
    }
    assert found == set(KNOWN_DIFFERENCES)
