"""The commands that take a circuit: `run`, and `cost`, for which no workspace is needed."""

from __future__ import annotations

import ast
import dataclasses
import functools
import json
import math
import operator
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from cirq_azure_sessions.cli.files import FilePath, check_replaceable, replacing
from cirq_azure_sessions.cli.numbers import Number, WholeNumber, parse_whole_number
from cirq_azure_sessions.cli.options import (
    DEFAULT_SHOTS,
    Command,
    WorkspaceOptions,
    show,
    show_json,
    takes_workspace,
)
from cirq_azure_sessions.encodings import read_whole
from cirq_azure_sessions.errors import SweepError
from cirq_azure_sessions.redaction import printable

if TYPE_CHECKING:
    import cirq
    from rich.table import Table

    from cirq_azure_sessions.costs import CostEstimate, Rates

__all__ = ["cost", "run"]

# The maximum number of job kinds (which differ in their gates) in a table.
_ROWS = 24


# The circuit and its sweep


@dataclass(frozen=True)
class _Values:
    """The values of a parameter: those listed, or `count` of them from the first to the second."""

    name: str
    numbers: Sequence[float]
    count: int | None

    def sweep(self) -> cirq.Linspace | cirq.Points:
        """The sweep over these values."""
        import cirq

        if self.count is None:
            return cirq.Points(self.name, self.numbers)
        start, stop = self.numbers
        return cirq.Linspace(self.name, start, stop, self.count)


@dataclass(frozen=True)
class ProgramOptions:
    """A circuit's file, `-` for standard input, and what to do with the circuit."""

    path: Path
    target: str
    repetitions: int
    sweeps: Sequence[_Values]
    pack: int | str | None = None

    def read(self) -> tuple[cirq.Circuit, cirq.Sweep]:
        """The circuit and its sweep.

        Raises:
            click.UsageError: If the file holds no circuit, or the sweep does not fit it.
        """
        from cirq_azure_sessions.cli.circuit_file import decode_text, parse_program, read_text

        try:
            is_stdin = str(self.path) == "-"
            text = decode_text(read_whole(sys.stdin.buffer)) if is_stdin else read_text(self.path)
            circuit = parse_program(text)
        except (OSError, ValueError) as error:
            raise click.BadParameter(f"{self.path}: {error}", param_hint="'CIRCUIT'") from error
        return circuit, _product(circuit, self.sweeps)


def takes_program(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options of a circuit; the command gets them as `program`."""

    @click.argument("circuit", type=FilePath(exists=True, allow_dash=True))
    @click.option(
        "--target",
        metavar="TARGET",
        default="local.simulator",
        show_default=True,
        help="The target to run on.",
    )
    @click.option(
        "--repetitions",
        "--shots",
        "-r",
        metavar="N",
        type=WholeNumber(0),
        default=DEFAULT_SHOTS,
        show_default=True,
        help="Shots for each point.",
    )
    @click.option(
        "--sweep",
        "sweeps",
        multiple=True,
        metavar="NAME=VALUES",
        callback=_parse_sweeps,
        help="Values of a parameter: START:STOP:COUNT, both ends included, or a list, as in "
        "theta=0:2*pi:50 and theta=0,pi/4,1e-3. Repeat it for further parameters: all combinations "
        "are sampled.",
    )
    @click.option(
        "--pack",
        metavar="N|auto",
        callback=_parse_pack,
        help="Run N points, or as many as fit, side by side in one job, so that they share its "
        "minimum price.",
    )
    @functools.wraps(command)
    def with_program(
        *args: Any,
        circuit: Path,
        target: str,
        repetitions: int,
        sweeps: Sequence[_Values],
        pack: int | str | None,
        **options: Any,
    ) -> None:
        program = ProgramOptions(circuit, target, repetitions, sweeps, pack)
        command(*args, program=program, **options)

    return with_program


def _parse_sweeps(
    ctx: click.Context, param: click.Parameter, texts: Sequence[str]
) -> Sequence[_Values]:
    return [_parse_sweep(text) for text in texts]


def _parse_pack(ctx: click.Context, param: click.Parameter, text: str | None) -> int | str | None:
    if text is None or text == "auto":
        return text
    if not text.isdecimal() or not int(text):
        raise click.BadParameter("give a number of points, or auto.")
    return int(text)


def _parse_sweep(text: str) -> _Values:
    name, _, given = text.partition("=")
    count = None
    try:
        if ":" in given:
            first, last, length = given.split(":")
            numbers, count = [_number(first), _number(last)], parse_whole_number(length)
        else:
            numbers = [_number(value) for value in given.split(",")]
    except (ValueError, SyntaxError, ArithmeticError, RecursionError, MemoryError):
        raise click.BadParameter(
            f"{text!r} does not have the form theta=0:2*pi:50 or theta=0,pi/4,1e-3."
        ) from None
    if not name.strip() or (count is not None and count < 1):
        raise click.BadParameter(f"{text!r} needs a parameter's name and at least one point.")
    if not all(map(math.isfinite, numbers)):
        raise click.BadParameter(f"{text!r} needs finite numbers.")
    return _Values(name.strip(), numbers, count)


_ARITHMETIC: Mapping[type[ast.AST], Callable[..., float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}


def _number(text: str) -> float:
    """The value of a number, or of sums, products and quotients of numbers and `pi`."""

    def value(node: ast.AST) -> float:
        match node:
            case ast.Constant(value=int() | float() as number):
                return float(number)
            case ast.Name(id="pi"):
                return math.pi
            case ast.Name(id="nan" | "inf" as word):
                return float(word)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                return _ARITHMETIC[type(op)](value(left), value(right))
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _ARITHMETIC:
                return _ARITHMETIC[type(op)](value(operand))
        raise ValueError("neither a number nor arithmetic")

    return value(ast.parse(text.strip(), mode="eval").body)


def _product(program: cirq.Circuit, sweeps: Sequence[_Values]) -> cirq.Sweep:
    """All combinations of the given values; checks them against the circuit's parameters."""
    import cirq

    known = cirq.parameter_names(program)
    given = [each.name for each in sweeps]
    if unknown := sorted(set(given) - known):
        raise click.UsageError(
            f"The circuit has no parameter {', '.join(unknown)}, only "
            f"{', '.join(sorted(known))}: correct or leave out that --sweep."
            if known
            else "The circuit has no parameters: leave out --sweep."
        )
    if missing := sorted(known - set(given)):
        flags = " ".join(f"--sweep {name}=VALUES" for name in missing)
        raise click.UsageError(f"The circuit has parameters without a value: add {flags}.")
    if len(set(given)) < len(given):
        raise click.UsageError("A parameter is swept twice: give each one --sweep.")
    return cirq.Product(*(each.sweep() for each in sweeps)) if sweeps else cirq.UnitSweep


# Running it

# The creator named in pictures, and the first bytes of other result files.
_MAKER = "cirq-azure-sessions run"
_BEGINNINGS = {".json": b'{\n  "target": ', ".csv": b"point,"}
_ENDINGS = (*_BEGINNINGS, ".png", ".svg", ".pdf")
# The first characters of spreadsheet formulas.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def _is_own(output: Path) -> bool:
    """Whether a file holds results that `run` wrote."""
    from cirq_azure_sessions.results.picture import is_picture

    if begin := _BEGINNINGS.get(output.suffix.lower()):
        return output.read_bytes().startswith(begin)
    return is_picture(output, _MAKER)


def _check_outputs(outputs: Sequence[Path], journal: Path | None, *, is_sweep: bool) -> None:
    """Checks that the outputs can be written, before anything is paid for.

    Raises:
        click.UsageError: If a file is the journal, or was not written by the command.
        OSError: If one cannot be written.
    """
    for output in outputs:
        if journal is not None and os.path.realpath(output) == os.path.realpath(journal):
            raise click.UsageError(f"{output} is the --journal: choose another file for --output.")
        ending = output.suffix.lower()
        if ending not in _ENDINGS:
            raise click.UsageError(f"{output} must end in one of {', '.join(_ENDINGS)}.")
        if ending not in _BEGINNINGS and not is_sweep:
            raise click.UsageError(f"{output} is a plot of a sweep: add --sweep, or leave it out.")
        check_replaceable(output, _is_own, "file of results")


@click.command(cls=Command)
@takes_program
@click.option("--seed", metavar="N", type=WholeNumber(0), help="Seed for reproducible samples.")
@click.option(
    "--max-cost",
    metavar="AMOUNT",
    type=Number(0),
    help="Spending cap: dollars on IonQ, credits on Quantinuum. See `cost`.",
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=Number(),
    help="Maximum time to wait for results.",
)
@click.option(
    "--on-interrupt",
    type=click.Choice(["leave", "cancel"]),
    default="leave",
    show_default=True,
    help="What happens to submitted jobs on Ctrl-C or SIGTERM.",
)
@click.option(
    "--journal",
    metavar="PATH",
    type=FilePath(),
    help="Record jobs in this file; a later run with it continues without paying twice.",
)
@click.option(
    "--name",
    metavar="NAME",
    help="Session name; an open session with this name and target is reused.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every outcome.")
@click.option(
    "--output",
    "-o",
    "outputs",
    metavar="FILE",
    multiple=True,
    type=FilePath(),
    help="Write results to FILE.json or FILE.csv, or draw them in FILE.png, .svg or .pdf. May be "
    "repeated.",
)
@takes_workspace
def run(
    workspace: WorkspaceOptions,
    program: ProgramOptions,
    seed: int | None,
    max_cost: float | None,
    timeout: float | None,
    on_interrupt: str,
    journal: Path | None,
    name: str | None,
    as_json: bool,
    outputs: Sequence[Path],
) -> None:
    """Sample the circuit in a file.

    CIRCUIT is a file in Cirq's JSON, as cirq.to_json writes it, or in OpenQASM 2; - is standard
    input. Targets other than local.* need a workspace; by default the SDK's environment
    variables name it.

    After Ctrl-C, submitted jobs keep running; the command prints how to fetch or cancel them.

    \b
      cirq-azure-sessions run bell.qasm --repetitions 500 --seed 1
      cirq-azure-sessions run rotation.json --sweep theta=0:pi:20 -o rotation.png
      cirq-azure-sessions run rotation.json --sweep theta=0:3.14:50 \\
          --target ionq.qpu.aria-1 --journal run.journal --max-cost 2000
    """
    is_local = program.target.startswith("local.")
    if not is_local:
        # Before Cirq is imported, which takes seconds.
        workspace.check_emulator()
    from cirq_azure_sessions.cli.tables import results_as_json, results_table
    from cirq_azure_sessions.sampler import AzureSessionSampler
    from cirq_azure_sessions.sessions.pool import SessionPool

    circuit, sweep = program.read()
    _check_outputs(outputs, journal, is_sweep=bool(program.sweeps))
    connected = None if is_local else workspace.connect()
    results: Sequence[cirq.Result | None]
    failures: Mapping[int, Exception] = {}
    with (
        _explained_jobs(is_local, journal),
        SessionPool(connected, name=name, journal=journal) as pool,
    ):
        sampler = AzureSessionSampler(
            program.target,
            pool=pool,
            seed=seed,
            max_cost=max_cost,
            timeout=timeout,
            pack=program.pack,
            on_interrupt=on_interrupt,
            progress=sys.stderr.isatty(),
        )
        try:
            results = sampler.run_sweep(circuit, sweep, program.repetitions)
        except SweepError as error:
            results, failures = error.results, error.failures
        returned = [result for result in results if result is not None]
        # Before the session is closed, which may take long, and is interrupted by Ctrl-C.
        with _named_if_not_written(program.target, returned, journal), ExitStack() as ways_out:
            # Outputs are written last to first. A failed one must not lose the others, which are
            # paid for.
            if as_json:
                ways_out.callback(show_json, results_as_json(program.target, returned))
            elif returned:
                ways_out.callback(show, results_table(returned, is_sweep=bool(program.sweeps)))
            for output in reversed(outputs) if returned else ():
                ways_out.callback(_save, program.target, results, output)
    if failures:
        count = f"{len(failures)} of {len(results)} points failed: " if program.sweeps else ""
        raise click.ClickException(printable(f"{count}{failures[min(failures)]}"))


def _save(target: str, results: Sequence[Any], output: Path) -> None:
    """Writes or draws results to a file, by its extension."""
    from cirq_azure_sessions.cli.tables import results_as_json
    from cirq_azure_sessions.results.picture import save_picture
    from cirq_azure_sessions.results.plot import plot_sweep
    from cirq_azure_sessions.results.sweep_results import SweepResults

    ending = output.suffix.lower()
    with replacing(output, _is_own, "file of results") as path:
        if ending == ".json":
            values = results_as_json(target, [each for each in results if each is not None])
            path.write_text(f"{json.dumps(values, indent=2)}\n", encoding="utf-8")
        elif ending == ".csv":
            # A spreadsheet evaluates text that begins like a formula, unless it is quoted.
            frame = SweepResults(results).to_dataframe()
            frame.columns = [f"'{each}" if each.startswith(_FORMULA) else each for each in frame]
            # A lone surrogate cannot be encoded, and the results are paid for.
            frame.to_csv(path, errors="backslashreplace")
        else:
            save_picture(path, _MAKER, functools.partial(plot_sweep, results))


@contextmanager
def _explained_jobs(is_local: bool, journal: Path | None) -> Iterator[None]:
    """Adds how to fetch or cancel the jobs that an error names."""
    try:
        yield
    except (KeyboardInterrupt, OSError, SystemExit) as error:
        if is_local:
            # Local jobs end with the process.
            error.__notes__ = []
        elif getattr(error, "__notes__", None):
            which = "ID..." if journal is None else f"--journal {quote(str(journal))}"
            error.add_note(
                "`cirq-azure-sessions jobs result ID` prints the result of a job, and "
                f"`cirq-azure-sessions jobs cancel {which}` cancels what has not finished."
            )
        raise


@contextmanager
def _named_if_not_written(
    target: str, results: Sequence[Any], journal: Path | None
) -> Iterator[None]:
    """Adds how to fetch the results again, if they could not be written."""
    from cirq_azure_sessions.watch.interruption import interruption_note

    try:
        yield
    except (KeyboardInterrupt, OSError, SystemExit) as error:
        fetched = list(dict.fromkeys(job_id for each in results for job_id in each.job_ids))
        error.add_note(interruption_note(target, [], fetched, cancelled=False, journal=journal))
        raise


# Its cost


def _parse_rates(
    ctx: click.Context, param: click.Parameter, texts: Sequence[str]
) -> Mapping[str, str]:
    pairs = [text.partition("=") for text in texts]
    if not all(sign for _, sign, _ in pairs):
        raise click.BadParameter("a rate has the form per_job=1.5.")
    return {name: value for name, _, value in pairs}


@click.command(cls=Command)
@takes_program
@click.option(
    "--rate",
    "rates",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_parse_rates,
    help="Overrides a published rate: unit, per_job, per_shot, "
    "per_one_qubit_gate, per_two_qubit_gate, per_spam, per_centisecond, seconds_per_shot, minimum.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every point.")
def cost(program: ProgramOptions, rates: Mapping[str, str], as_json: bool) -> None:
    """Estimate the cost of the circuit in a file. Nothing is sent.

    CIRCUIT is a file as for the command `run`. The estimate counts the gates that the circuit
    compiles to, at the published rates of the target or at your own.

    \b
      cirq-azure-sessions cost bell.qasm --target ionq.qpu.aria-1
      cirq-azure-sessions cost rotation.json --sweep theta=0:3.14:20 \\
          --target quantinuum.sim.h2-1e --repetitions 500 --json
      cirq-azure-sessions cost bell.qasm --target rigetti.qpu.ankaa-3 \\
          --rate seconds_per_shot=0.0002
    """
    from cirq_azure_sessions.costs import estimate_cost

    circuit, sweep = program.read()
    own = _own_rates(program.target, rates) if rates else None
    estimate = estimate_cost(
        program.target, circuit, sweep, program.repetitions, rates=own, pack=program.pack
    )
    if estimate.amount is None:
        raise click.UsageError(
            f"The price of {program.target} is not known: give it with --rate, "
            f"such as --rate {'per_job=1' if estimate.rates is None else 'seconds_per_shot=0.001'}."
        )
    if as_json:
        show_json(_as_values(estimate))
    else:
        show(_table(estimate))
        show(f"\n{estimate}")


def _own_rates(target: str, given: Mapping[str, str]) -> Rates:
    """The target's published rates, overridden by the given ones."""
    from cirq_azure_sessions.costs import Rates, known_rates

    known = {rate.name for rate in dataclasses.fields(Rates)} - {"source", "date"}
    if unknown := given.keys() - known:
        raise click.UsageError(
            f"Unknown rate {', '.join(sorted(unknown))}: use {', '.join(sorted(known))}."
        )
    try:
        values = {name: text if name == "unit" else float(text) for name, text in given.items()}
        published = known_rates(target) or Rates()
        sources = filter(None, ("--rate", published.source))
        own: Any = {"source": " over ".join(sources), **values}
        return dataclasses.replace(published, **own)
    except ValueError:
        raise click.UsageError("A --rate is a number of 0 or more, such as per_job=1.5.") from None


def _table(estimate: CostEstimate) -> Table:
    """One row per kind of job: the number of jobs, the workload of each, and the cost."""
    from cirq_azure_sessions.cli.tables import new_table

    kinds = Counter((job.workload, job.amount) for job in estimate.jobs)
    table = new_table()
    for header in ("jobs", "shots", "1q gates", "2q gates", "spam", "each", estimate.unit):
        table.add_column(header, justify="right")
    for (work, amount), count in kinds.most_common(_ROWS):
        numbers = (work.shots, work.one_qubit_gates, work.two_qubit_gates, work.spam)
        each = amount or 0.0
        table.add_row(str(count), *map(str, numbers), f"{each:,.2f}", f"{count * each:,.2f}")
    if rest := kinds.most_common()[_ROWS:]:
        total = sum(count * (amount or 0.0) for (_, amount), count in rest)
        count = sum(count for _, count in rest)
        table.add_row(str(count), *["..."] * 5, f"{total:,.2f}")
    return table


def _as_values(estimate: CostEstimate) -> dict[str, Any]:
    """The estimate as JSON values."""
    return {
        "target": estimate.target,
        "amount": estimate.amount,
        "unit": estimate.unit,
        "jobs": len(estimate.jobs),
        "amount_unpacked": estimate.amount_unpacked,
        "minimum_applied": estimate.minimum_applied,
        "points": list(estimate.points.values()),
        "usage": dict(estimate.usage),
        "rates": None if estimate.rates is None else dataclasses.asdict(estimate.rates),
    }
