"""Faults as JSON, as they come over HTTP.

A document has one member that says what is disturbed, beside the keyword arguments of the method of
`Faults` that does it from Python:

    {"route": "submit", "status": 429, "retry_after": 1, "times": 3}        add
    {"route": "upload", "reset": true, "after": true}                       reset
    {"route": "job", "garbage": "}{"}                                       garble
    {"job": "fail", "code": "InternalError", "target": "ionq.*"}            fail_job; hang, cancel
    {"session": "TimedOut"}                                                 time_out_session; Failed
    {"sas": "*/rawOutputData", "announced": 60}                             expire_sas
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cirq_azure_sessions.emulator.fault_kinds import check
from cirq_azure_sessions.emulator.faults import Faults

__all__ = ["add_document"]


def add_document(faults: Faults, document: Mapping[str, Any]) -> None:
    """Adds the fault that a JSON document describes.

    Raises:
        ValueError: If it describes none; the message says what would.
    """
    kinds = [kind for kind in _KINDS if kind in document]
    if len(kinds) != 1:
        raise ValueError(f"Give a fault one of these members: {', '.join(_KINDS)}.")
    for name, value in document.items():
        _check_type(name, value)
    arguments = dict(document)
    subject = arguments.pop(kinds[0])
    try:
        _KINDS[kinds[0]](faults, subject, **arguments)
    except TypeError:
        raise ValueError(f"Give a {kinds[0]} fault only the members that it has.") from None


def _add_route(
    faults: Faults,
    route: str,
    *,
    reset: bool = False,
    garbage: str | None = None,
    **arguments: Any,
) -> None:
    if garbage is not None:
        faults.garble(route, garbage, **arguments)
    elif reset:
        faults.reset(route, **arguments)
    else:
        faults.add(route, **arguments)


def _add_job(faults: Faults, end: str, **arguments: Any) -> None:
    verbs = {"fail": faults.fail_job, "hang": faults.hang_job, "cancel": faults.cancel_job}
    check(end in verbs, "job", ", ".join(verbs))
    verbs[end](**arguments)


def _add_session(faults: Faults, status: str, **arguments: Any) -> None:
    verbs = {"TimedOut": faults.time_out_session, "Failed": faults.fail_session}
    check(status in verbs, "session", ", ".join(verbs))
    verbs[status](**arguments)


_KINDS: dict[str, Callable[..., None]] = {
    "route": _add_route,
    "job": _add_job,
    "session": _add_session,
    "sas": Faults.expire_sas,
}

_TYPES: dict[str, tuple[type, ...]] = {
    "status": (int,),
    "times": (int, type(None)),
    "retry_after": (int, float, type(None)),
    "delay": (int, float),
    "announced": (int, float),
    "reset": (bool,),
}


def _check_type(name: str, value: object) -> None:
    # `after` is seconds of a SAS and a yes or no of a request; every other member is text.
    wanted = (int, float, bool) if name == "after" else _TYPES.get(name, (str,))
    is_right = isinstance(value, wanted) and (bool in wanted or not isinstance(value, bool))
    check(is_right, name, " or ".join(kind.__name__ for kind in wanted))
