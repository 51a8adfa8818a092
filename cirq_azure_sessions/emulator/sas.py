"""Shared access signatures (SAS): time-limited access to one container or blob.

The shapes are those of the recordings:

    account    sv ss=b srt=co spr=https st se sp=rwlac sig    from `sasUri` for a container
    container  sv st se sr=c sp=rl sig                        `containerUri` of GET job
    blob       sv st se sr=b sp=r rscd=... sig                `inputDataUri`, `outputDataUri`
    blob       sv st se sr=b sp=rcw sig                       from `sasUri` for a blob

Only the emulator checks its signatures, so the string that it signs is not Azure's. One rule is
stricter than Azure's: an account SAS opens only the container it was requested for, not every
container of the account, which exposes clients that mix up containers.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote

from cirq_azure_sessions.clock import Clock
from cirq_azure_sessions.emulator.storage_error import StorageError

__all__ = ["CLOCK_SKEW", "Lifetime", "Lifetimes", "SasSigner"]

# A SAS becomes valid a little before it is signed, because clocks differ between machines.
CLOCK_SKEW = 900.0

_VERSION = "2024-05-04"
_SIGNED_FIELDS = ("sv", "ss", "srt", "spr", "st", "se", "sr", "sp", "rscd")


@dataclass(frozen=True, slots=True)
class Lifetime:
    """The lifetime of a SAS, in seconds from its signing.

    Attributes:
        announced: The lifetime according to its `se`. The SDK signs for two weeks, and renews a SAS
            with less than five minutes left.
        actual: The lifetime until it is refused regardless of its `se`.
    """

    announced: float = 14 * 24 * 3600.0
    actual: float = math.inf


# Returns the lifetime of the next SAS on a resource, `container` or `container/blob`.
Lifetimes = Callable[[str], Lifetime]


class SasSigner:
    """Signs and checks the query strings of SAS URLs, whose times are those of the clock."""

    def __init__(self, clock: Clock, lifetimes: Lifetimes) -> None:
        self._key = secrets.token_bytes(32)
        self._clock = clock
        self._lifetimes = lifetimes
        # The signatures that expire before their `se`, and when; only injected faults create any.
        self._early_expiries: dict[str, float] = {}

    def sign(
        self,
        container: str,
        blob: str = "",
        permissions: str | None = None,
        filename: str | None = None,
    ) -> str:
        """The query string of a SAS on a blob or, without its name, on all in a container.

        `permissions` are Azure's letters: read, add, create, write, delete, list. None makes it the
        account SAS, which also creates the container. A browser saves the blob as `filename`.
        """
        fields = {"sv": _VERSION, "st": "", "se": "", "sr": "b" if blob else "c"}
        if permissions is None:
            fields = {"sv": _VERSION, "ss": "b", "srt": "co", "spr": "https", "st": "", "se": ""}
        fields["sp"] = permissions or "rwlac"
        if filename is not None:
            fields["rscd"] = f"attachment; filename={filename}"
        lifetime = self._lifetimes(f"{container}/{blob}" if blob else container)
        now = self._clock.time()
        # A SAS that expires early begins a second earlier, so that it differs from a regular one
        # signed at the same time.
        fields["st"] = _format(now - CLOCK_SKEW - (lifetime.actual < math.inf))
        fields["se"] = _format(now + lifetime.announced)
        signature = self._signature(fields, container, blob)
        if lifetime.actual < math.inf:
            self._early_expiries[signature] = now + lifetime.actual
        query = "&".join([f"{name}={_quoted(value)}" for name, value in fields.items()])
        return f"{query}&sig={quote(signature, safe='')}"

    def check(
        self,
        query: Mapping[str, str],
        container: str,
        blob: str = "",
        *,
        permissions: str,
        account_only: bool = False,
    ) -> None:
        """Checks that the SAS in `query` grants one of `permissions` on this resource now.

        `StorageError` if not. `account_only` is for operations that Azure grants to no other SAS.
        """
        fields = {name: query[name] for name in _SIGNED_FIELDS if name in query}
        if "sig" not in query:
            raise StorageError("NoAuthenticationInformation")
        scope = blob if fields.get("sr") == "b" else ""
        expected = self._signature(fields, container, scope)
        if not hmac.compare_digest(expected.encode(), query["sig"].encode(errors="replace")):
            raise StorageError("AuthenticationFailed", "Signature did not match.")
        begin, end, now = fields["st"], fields["se"], self._clock.time()
        early = self._early_expiries.get(query["sig"], math.inf)
        if not _parse(begin) <= now < min(_parse(end), early):
            raise StorageError(
                "AuthenticationFailed",
                "Signature not valid in the specified time frame: "
                f"Start [{begin}] - Expiry [{end}] - Current [{_format(now)}]",
            )
        if account_only and "srt" not in fields:
            raise StorageError("AuthorizationFailure")
        if not set(fields["sp"]) & set(permissions):
            raise StorageError("AuthorizationPermissionMismatch")

    def _signature(self, fields: Mapping[str, str], container: str, blob: str) -> str:
        # Length prefixes separate the parts: no two requests share a string to sign.
        parts = [container, blob, *(fields.get(name, "") for name in _SIGNED_FIELDS)]
        text = "".join(f"{len(part)}:{part}" for part in parts)
        digest = hmac.new(self._key, text.encode(errors="replace"), hashlib.sha256).digest()
        return base64.b64encode(digest).decode()


@lru_cache(maxsize=1024)
def _quoted(value: str) -> str:
    # Within a second, signatures differ in little.
    return quote(value, safe="")


def _format(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _parse(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
