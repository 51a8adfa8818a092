"""The targets that workspaces list, cached for ten minutes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

from cachetools import TTLCache

from cirq_azure_sessions.clock import Clock
from cirq_azure_sessions.errors import ServiceError
from cirq_azure_sessions.model import TargetStatus
from cirq_azure_sessions.workspaces.base import WorkspacePort

__all__ = ["TargetCatalog"]

# Seconds for which a list is cached, or the fact that there was none.
_LIFETIME = 600.0

_Listing = asyncio.Task[Mapping[str, TargetStatus]]


class TargetCatalog:
    """The cached target lists of a pool's workspaces. Lives on the background loop."""

    def __init__(
        self, clock: Clock, spawn: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]]
    ) -> None:
        self._spawn = spawn
        # State: the lists, or the pending requests for them, by workspace. A pool has two.
        self._listings: TTLCache[WorkspacePort, _Listing] = TTLCache(
            2, _LIFETIME, timer=clock.monotonic
        )

    def list(
        self, workspace: WorkspacePort, gate: AbstractAsyncContextManager[Any]
    ) -> Awaitable[Mapping[str, TargetStatus]]:
        """The listed targets with known capabilities, by id; empty if there is no list.

        The gate is held during the request.
        """

        async def ask() -> Mapping[str, TargetStatus]:
            # Jobs can be submitted without the list, so nothing waits for a second attempt.
            with suppress(ServiceError):
                async with gate:
                    listed = await workspace.list_targets(retries=False)
                return {
                    target.id: target
                    for target in listed
                    if target.num_qubits is not None or target.target_profile
                }
            return {}

        listing = self._listings.get(workspace)
        if listing is None:
            listing = self._listings[workspace] = self._spawn(ask())
        return asyncio.shield(listing)
