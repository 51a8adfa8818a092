"""Pickles that hold the constructor call, made once in each process."""

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

# State: what was read in this process, by the token of its original.
_copies: weakref.WeakValueDictionary[str, PickledAsRecipe] = weakref.WeakValueDictionary()
# Guards it, so that threads that read a pickle at once get the same. Reentrant: what is made may
# itself read pickles.
_lock = threading.RLock()


class PickledAsRecipe:
    """Pickles as the call that makes it.

    However often pickles of one object are read in a process, and by how many threads, they give
    one copy while that is in use. Once it is closed, the next pickle gives another.
    """

    def __new__(cls: type[T], *args: Any, **options: Any) -> T:
        made = super().__new__(cls)
        made._made_with = args, options
        return made

    # What it was called with.
    _made_with: Arguments

    @property
    def _is_spent(self) -> bool:
        """Whether it is closed, and of no more use."""
        return False

    def _recipe(self) -> Arguments:
        """What to call its class with in another process."""
        return self._made_with

    def __reduce__(self) -> tuple[Any, ...]:
        args, options = self._recipe()
        # An executor stays here: in its workers there is none, and need not be.
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
    """Renews the lock: a thread that held it is not in the child of the fork."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
