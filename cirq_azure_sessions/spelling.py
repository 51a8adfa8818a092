"""Suggestions for misspelled names."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher

__all__ = ["did_you_mean"]

_CUTOFF = 0.75


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
