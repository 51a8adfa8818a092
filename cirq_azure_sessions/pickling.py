"""Pickles that contain a constructor call, which is made once in each process."""

from __future__ import annotations

import os
import threading
import uuid
import weakref
from collections.abc import Mapping
from typing import Any, TypeVar

__all__ = ["PickledAsRecipe"]

Arguments = tuple[tuple[Any, ...], Mapping[str, Any]]

T = TypeVar("T", bound="PickledAsRecipe")

# State: the copies in this process, by the token of the original.
_copies: weakref.WeakValueDictionary[str, PickledAsRecipe] = weakref.WeakValueDictionary()
# Guards it, so that threads that load a pickle at the same time get the same copy. Reentrant: a
# constructor may load pickles itself.
_lock = threading.RLock()


class PickledAsRecipe:
    """An object that is pickled as its constructor call.

    All pickles of one object that are loaded in a process, on any thread, give the same copy while
    that is in use. Once it is closed, the next pickle gives another.
    """

    def __new__(cls: type[T], *args: Any, **options: Any) -> T:
        made = super().__new__(cls)
        made._made_with = args, options
        return made

    # The arguments of the constructor.
    _made_with: Arguments

    @property
    def _is_spent(self) -> bool:
        """Whether it is closed and no longer usable."""
        return False

    def _recipe(self) -> Arguments:
        """The arguments for its class in another process."""
        return self._made_with

    def __reduce__(self) -> tuple[Any, ...]:
        args, options = self._recipe()
        # Executors are not pickled: its workers have none, and need none.
        options = {name: value for name, value in options.items() if name != "executor"}
        token = vars(self).setdefault("_token", uuid.uuid4().hex)
        return _read, (token, type(self), args, options)


def _read(
    token: str, kind: type[PickledAsRecipe], args: tuple[Any, ...], options: Mapping[str, Any]
) -> PickledAsRecipe:
    with _lock:
        found = _copies.get(token)
        if found is None or found._is_spent:
            found = _copies[token] = kind(*args, **options)
            vars(found)["_token"] = token
        return found


def _after_fork() -> None:
    """Renews the lock: a thread that held it does not exist in a forked child."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
