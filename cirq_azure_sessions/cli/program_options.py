"""How the commands that take a circuit name it, its target and its sweep."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import cirq

__all__ = ["ProgramOptions", "takes_program"]


@dataclass(frozen=True)
class _Range:
    """The values of one parameter: evenly spaced, both ends included."""

    name: str
    start: float
    stop: float
    count: int


@dataclass(frozen=True)
class ProgramOptions:
    """A circuit's file, and what to do with the circuit."""

    path: str
    target: str
    repetitions: int
    ranges: Sequence[_Range]

    def read(self) -> tuple[cirq.Circuit, cirq.Sweep]:
        """The circuit and its sweep.

        Raises:
            click.UsageError: If the file holds no circuit, or the sweep does not fit it.
        """
        from cirq_azure_sessions.circuit_file import is_openqasm, parse_circuit, read_text

        try:
            text = read_text(Path(self.path))
            circuit = parse_circuit(text)
            if is_openqasm(text) and not circuit.has_measurements():
                raise ValueError("The program has no `measure` statement that can be reached.")
        except (OSError, ValueError) as error:
            raise click.BadParameter(f"{self.path}: {error}", param_hint="CIRCUIT") from error
        return circuit, _product(circuit, self.ranges)


def takes_program(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options of a circuit; the command gets them as `program`."""

    @click.argument("circuit", type=click.Path(exists=True, dir_okay=False))
    @click.option(
        "--target",
        metavar="TARGET",
        default="local.simulator",
        show_default=True,
        help="Where to run it.",
    )
    @click.option(
        "--repetitions",
        "-r",
        metavar="N",
        type=click.IntRange(min=0),
        default=1000,
        show_default=True,
        help="How often to sample each point.",
    )
    @click.option(
        "--sweep",
        "ranges",
        multiple=True,
        metavar="NAME=START:STOP:COUNT",
        callback=_parse_ranges,
        help="Values of a parameter. Repeat it for further parameters: all combinations are "
        "sampled.",
    )
    @functools.wraps(command)
    def with_program(
        *args: Any,
        circuit: str,
        target: str,
        repetitions: int,
        ranges: Sequence[_Range],
        **options: Any,
    ) -> None:
        command(*args, program=ProgramOptions(circuit, target, repetitions, ranges), **options)

    return with_program


def _parse_ranges(
    ctx: click.Context, param: click.Parameter, texts: Sequence[str]
) -> Sequence[_Range]:
    return [_parse_range(text) for text in texts]


def _parse_range(text: str) -> _Range:
    name, _, values = text.partition("=")
    try:
        start, stop, count = values.split(":")
        sweep = _Range(name.strip(), float(start), float(stop), int(count))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not of the form theta=0:6.28:50.") from None
    if not sweep.name or sweep.count < 1:
        raise click.BadParameter(f"{text!r} needs a parameter's name and at least one point.")
    if not (math.isfinite(sweep.start) and math.isfinite(sweep.stop)):
        raise click.BadParameter(f"{text!r} needs finite numbers for START and STOP.")
    return sweep


def _product(program: cirq.Circuit, ranges: Sequence[_Range]) -> cirq.Sweep:
    """All combinations of the given values, checked against the circuit's parameters."""
    import cirq

    known = cirq.parameter_names(program)
    given = [each.name for each in ranges]
    if missing := sorted(known - set(given)):
        flags = " ".join(f"--sweep {name}=START:STOP:COUNT" for name in missing)
        raise click.UsageError(f"The circuit has parameters without a value: add {flags}.")
    if unknown := sorted(set(given) - known):
        raise click.UsageError(
            f"The circuit has no parameter {', '.join(unknown)}; "
            f"it has {', '.join(sorted(known)) or 'none'}: correct or leave out that --sweep."
        )
    if len(set(given)) < len(given):
        raise click.UsageError("A parameter is swept twice: give each one --sweep.")
    factors = [cirq.Linspace(each.name, each.start, each.stop, each.count) for each in ranges]
    return cirq.Product(*factors) if factors else cirq.UnitSweep
