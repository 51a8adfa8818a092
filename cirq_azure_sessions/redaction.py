"""Redaction of secrets, and printable one-line text."""

from __future__ import annotations

import re

__all__ = ["drawable", "printable", "redact", "redact_bytes"]

# A secret may be quoted in a URL, in a URL within a URL, in JSON or in JSON within JSON, where "&",
# "=", "+" and "/" may be escaped. No match ends within an escape, so that JSON stays valid.
_EQUALS = r"(?:=|%3D|\\+u003d)"
_VALUE = r"(?:[\w%+/=.~-]|\\+/|\\+u00(?:2b|2f|3d))"
# A JSON web token begins with `{"` in base64. Every part of the pattern is decided within a few
# characters, so that matching takes linear time.
_SECRETS = re.compile(
    rf"((?:(?<![a-z0-9_])|(?<=u0026)|(?<=%26)|(?<=%3f))sig{_EQUALS}|account_?key{_EQUALS}){_VALUE}+"
    rf"|(\bbearer[ +]|\beyJ){_VALUE}{{16,}}",
    re.IGNORECASE | re.ASCII,
)


def redact(text: str) -> str:
    """Replaces every SAS signature, account key and bearer token with dots."""
    return _SECRETS.sub(r"\1\2...", text)


def redact_bytes(data: bytes) -> bytes:
    """The same for bytes of any encoding; all other bytes are unchanged."""
    return redact(data.decode("latin-1")).encode("latin-1")


def printable(text: str) -> str:
    """Text with escapes in place of control characters.

    Anybody in a workspace may choose the name of a session; it must not move the cursor, change the
    text direction, or look like another line.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )


def drawable(text: str) -> str:
    """Text for a picture: matplotlib would typeset text between dollar signs as mathematics."""
    return printable(text).replace("$", r"\$")
