"""Taking out of foreign words what would open a door: signatures, keys and tokens.

Addresses in Azure Storage carry their own credential, a shared access signature (SAS), in their
query; whoever quotes such an address hands it on.
"""

from __future__ import annotations

import re

__all__ = ["redacted", "redacted_bytes"]

# A secret may be quoted in a URL, in a URL within a URL, or in JSON or JSON within JSON, whose
# writers may escape "&", "=", "+" and "/". No match takes in half of an escape, so that JSON stays
# JSON.
_EQUALS = r"(?:=|%3D|\\+u003d)"
_VALUE = r"(?:[\w%+/=.~-]|\\+/|\\+u00(?:2b|2f|3d))"
# A token's first letters are those of `{"` in base64. Every part of the pattern is decided within a
# few characters, so that no text takes longer than its length.
_SECRETS = re.compile(
    rf"((?:(?<![a-z0-9_])|(?<=u0026)|(?<=%26)|(?<=%3f))sig{_EQUALS}|account_?key{_EQUALS}){_VALUE}+"
    rf"|(\bbearer[ +]|\beyJ){_VALUE}{{16,}}",
    re.IGNORECASE | re.ASCII,
)


def redacted(text: str) -> str:
    """The text with dots in the place of every signature, account key and bearer token."""
    return _SECRETS.sub(r"\1\2...", text)


def redacted_bytes(data: bytes) -> bytes:
    """The same for bytes of any kind; all others of them stay as they are."""
    return redacted(data.decode("latin-1")).encode("latin-1")
