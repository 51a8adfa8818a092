"""What sessions and jobs have in common: Azure calls both items."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from cirq_azure_sessions.model import Cost, Job, Session
from cirq_azure_sessions.pooled.port import PoolPort
from cirq_azure_sessions.workspaces.base import WorkspacePort

__all__ = ["PooledItem"]

Item = TypeVar("Item", bound=Session | Job)


class PooledItem(Generic[Item]):
    """A session or job in the hands of a user; two are equal if they have one id.

    Args:
        item: What the service told last.
        workspace: Where it is.
        pool: Who hands it out.
    """

    def __init__(self, item: Item, workspace: WorkspacePort, pool: PoolPort) -> None:
        self._item = item
        self._workspace = workspace
        self._pool = pool

    @property
    def id(self) -> str:
        """The id on the service."""
        return self._item.id

    @property
    def target(self) -> str:
        """The target that jobs run on."""
        return self._item.target

    @property
    def name(self) -> str:
        """The name on the service."""
        return self._item.name

    @property
    def creation_time(self) -> float | None:
        """When the session was opened or the job submitted, in seconds since the Unix epoch."""
        return self._item.creation_time

    @property
    def end_time(self) -> float | None:
        """When it ended, likewise; None if it has not."""
        return self._item.end_time

    @property
    def cost(self) -> Cost | None:
        """What the service says it costs; None if it does not say, or not yet."""
        return self._item.cost

    def __eq__(self, other: Any) -> bool:
        return self.id == other.id if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(id={self.id!r}, target={self.target!r}, name={self.name!r}, "
            f"status={self._item.status.value!r})"
        )
