"""A bar that shows how far a sweep is, for those who ask for it."""

from __future__ import annotations

from collections import Counter
from types import TracebackType

from tqdm.auto import tqdm

__all__ = ["SweepProgress"]


class SweepProgress:
    """A progress bar on stderr, or a widget in a notebook: jobs done, in flight and failed.

    Args:
        target: What to call the bar.
        jobs: How many jobs there are.
        is_shown: Whether there is a bar at all.
    """

    def __init__(self, target: str, jobs: int, *, is_shown: bool) -> None:
        self._counts: Counter[str] = Counter()
        # Even a bar that is not shown would start a thread.
        self._bar = tqdm(total=jobs, desc=target, unit="job") if is_shown else None

    def note(self, change: str) -> None:
        """Takes note that one job was `submitted`, is `done` or has `failed`."""
        if self._bar is None:
            return
        self._counts[change] += 1
        over = self._counts["done"] + self._counts["failed"]
        in_flight = max(self._counts["submitted"] - over, 0)
        failed = f", {self._counts['failed']} failed" if self._counts["failed"] else ""
        self._bar.set_postfix_str(f"{in_flight} in flight{failed}", refresh=False)
        self._bar.update(over - self._bar.n)

    def __enter__(self) -> SweepProgress:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
