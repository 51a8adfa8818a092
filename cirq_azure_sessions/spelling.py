"""Names as users spell them: suggestions, the spellings of options, and plurals."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import Any

__all__ = ["counted", "did_you_mean", "is_repetitions", "letters"]

_CUTOFF = 0.75

# The names for repetitions in providers' SDKs, without case and punctuation, such as n_shots,
# nbShots, shotCount, and Pasqal's runs, but not snapshots. No other option has such a name.
_RUN = r"(repetition|repeat|rep|sample|trial|run|execution)"
_REPETITIONS = re.compile(
    rf".*(?<!snap)shot.*|(n|nb|num|number|numberof)?(counts?|{_RUN}(s|s?count))"
    rf"|(nb|num|number|numberof){_RUN}"
)


def counted(count: int, noun: str) -> str:
    """A number of things, such as `1 job` or `1,000 jobs`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """A hint to append to a message about an unknown name: the most similar of `names`, if any.

    A name with dots is also similar to the part before or after a dot: `ionq.qpu.aria-1` to `ionq`
    and to `aria-1`. Of equally similar names, the first counts.
    """
    written = SequenceMatcher(b=_folded(name), autojunk=False)

    def similarity(each: str) -> float:
        parts = each.split(".")
        forms = {each}
        for dot in range(1, len(parts)):
            forms |= {".".join(parts[:dot]), ".".join(parts[dot:])}
        ratios = []
        for form in forms:
            written.set_seq1(_folded(form))
            ratios.append(written.ratio())
        return max(ratios)

    closest = max(names, key=similarity, default="")
    return f" Did you mean {closest!r}?" if closest and similarity(closest) >= _CUTOFF else ""


def _folded(name: str) -> str:
    """The letters and digits of a name, in lower case."""
    return "".join(filter(str.isalnum, name)).lower()


def letters(name: Any) -> str:
    """The letters of an option's name in lower case, which are the same for all spellings."""
    return "".join(filter(str.isalpha, str(name))).lower()


def is_repetitions(name: Any) -> bool:
    """Whether a provider option of this name is a number of repetitions."""
    return _REPETITIONS.fullmatch(letters(name)) is not None
