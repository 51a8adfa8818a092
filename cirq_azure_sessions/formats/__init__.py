"""Circuits to payloads and result bytes to `cirq.Result`: one file a provider's format.

Adding a provider is one file and one row of `_FORMATS`.
"""

from __future__ import annotations

import functools
import importlib
import re

from cirq_azure_sessions.errors import UnsupportedTarget
from cirq_azure_sessions.formats.translation import Format

__all__ = ["format_for"]

# Targets by the provider they start with, and the format's class. Classes are imported when first
# needed: each brings its provider's own packages.
_FORMATS: dict[str, str] = {
    "ionq": "ionq:IonQFormat",
    "local": "local:LocalFormat",
    "quantinuum": "quantinuum:QuantinuumFormat",
}

# Every other provider takes QIR, but these take no circuits.
_OTHERS = "qir:QirFormat"
_NO_CIRCUITS = frozenset({"microsoft", "pasqal"})


def format_for(target: str) -> Format:
    """The format that the target's programs and results are written in.

    Args:
        target: A target's id: `local.simulator`, `ionq.simulator`, `quantinuum.sim.h2-1e`, ...

    Raises:
        UnsupportedTarget: If the id is none, or the target takes no circuits.
    """
    if not isinstance(target, str) or not re.fullmatch(r"[A-Za-z0-9][\w-]*(\.[\w-]+)*", target):
        raise UnsupportedTarget(
            f"{target!r} is no target's id; give one such as 'local.simulator' or 'ionq.simulator'."
        )
    provider = target.split(".")[0].lower()
    if provider in _NO_CIRCUITS:
        raise UnsupportedTarget(
            f"{target} takes no circuits; choose a target of ionq, quantinuum or rigetti, or "
            "local.simulator."
        )
    return _instance(_FORMATS.get(provider, _OTHERS))


@functools.cache
def _instance(name: str) -> Format:
    module, _, kind = name.partition(":")
    room = importlib.import_module(f"{__name__}.{module}")
    format_: Format = getattr(room, kind)()
    return format_
