"""The rows of a journal as values, and the SQL that reads and writes its jobs."""

from __future__ import annotations

import enum
import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from cirq_azure_sessions.clock import Clock
from cirq_azure_sessions.model import Cost, Job, JobRequest, JobStatus
from cirq_azure_sessions.spelling import is_repetitions

__all__ = [
    "EntryState",
    "JobTable",
    "JournalEntry",
    "JournalRun",
    "JournalSession",
    "Place",
    "columns_of",
    "fingerprint",
    "fingerprinted",
    "read_row",
    "repetitions_of",
]

# The n-th request for the circuit of a fingerprint, and a part of its repetitions.
Place = tuple[str, int, int]


def fingerprint(request: JobRequest, workspace: str | None) -> str:
    """A hash of a request and the workspace's identity; the same in every run.

    It determines the layout of the result. Name, tags and priority do not affect it.
    """
    asked = [
        workspace,
        request.target,
        request.input_format,
        request.output_format,
        dict(request.input_params),
    ]
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode())
    digest.update(b"\0" + request.payload)
    return digest.hexdigest()


def fingerprinted(request: JobRequest, workspace: str | None) -> JobRequest:
    """The request with its fingerprint and, if it has no places, with that of its circuit."""
    params = {k: v for k, v in request.input_params.items() if not is_repetitions(k)}
    places = request.places or (
        (fingerprint(replace(request, input_params=params), workspace), 0, 0),
    )
    return replace(request, fingerprint=fingerprint(request, workspace), places=places)


def repetitions_of(input_params: Mapping[str, Any]) -> int:
    """The number of a job's repetitions, which all formats store under this name."""
    return int(input_params.get("shots", 0))


class EntryState(enum.StrEnum):
    """The state of a job in its journal.

    A lost job was accepted, but the service did not know it when a run waited for it; the next run
    waits again. A forgotten job is submitted again, because the user asked for it, or because it
    never arrived and its points are now in other jobs.
    """

    INTENDED = "intended"
    ACCEPTED = "accepted"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"
    UNAVAILABLE = "unavailable"
    FORGOTTEN = "forgotten"

    @property
    def is_without_result(self) -> bool:
        """Whether there will be no result, so that the next equal request makes a new job."""
        return self in (self.FAILED, self.CANCELLED, self.FORGOTTEN)


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One job in a journal.

    Attributes:
        number: Its number in the journal, in the order of submission.
        job_id: Its id on the service.
        fingerprint: The hash of its request.
        occurrence: The number, from 1, of the request for its circuit that it was made for.
        metadata: The metadata that were sent with the job, including the layout of its output.
        state: Its state in the journal.
        status: The service's status, once it has finished.
        code, message: The service's reason for a failure; the error, if the job succeeded but its
            result could not be fetched.
        output: The result's bytes, once it is finished.
        written, changed: When its row was inserted and last changed.
        places: The requests that it answers in this run.
        blocks: For each of these, the number of its point among the points of the job.
        is_new: Whether the claim that returned it has just made it; the service then cannot know
            the job.
    """

    number: int
    job_id: str
    fingerprint: str
    occurrence: int
    target: str
    name: str
    output_format: str
    input_params: Mapping[str, Any] = field(repr=False)
    metadata: Mapping[str, str] = field(repr=False)
    written: float
    changed: float
    state: EntryState = EntryState.INTENDED
    session_id: str | None = None
    status: str | None = None
    code: str = ""
    message: str = ""
    cost: Cost | None = None
    creation_time: float | None = None
    begin_time: float | None = None
    end_time: float | None = None
    output: bytes | None = field(default=None, repr=False)
    places: tuple[Place, ...] = field(default=(), compare=False)
    blocks: tuple[int, ...] = field(default=(0,), compare=False)
    is_new: bool = False

    @classmethod
    def read(cls, row: sqlite3.Row | Mapping[str, Any]) -> JournalEntry:
        """The entry in a row that has a column for each attribute of a job."""
        values = dict(row)
        with _translating_damage(f"the row of job {values['job_id']!r}"):
            values["state"] = EntryState(values["state"])
            values["input_params"] = json.loads(values["input_params"])
            values["metadata"] = json.loads(values["metadata"])
            if values["cost"] is not None:
                cost = json.loads(values["cost"])
                values["cost"] = Cost(cost["total"], cost["currency"], tuple(cost["events"]))
            return _checked_row(cls(**values))

    @property
    def repetitions(self) -> int:
        """The number of the job's repetitions."""
        return repetitions_of(self.input_params)

    @property
    def is_accepted(self) -> bool:
        """Whether the service has confirmed the job, and its result may still come."""
        return self.state in (EntryState.ACCEPTED, EntryState.UNAVAILABLE, EntryState.LOST)

    @property
    def is_finished(self) -> bool:
        """Whether the output is in the journal."""
        return self.state is EntryState.FINISHED

    @property
    def job(self) -> Job:
        """The job, as described by the service when it had ended."""
        return Job(
            id=self.job_id,
            target=self.target,
            name=self.name,
            status=JobStatus(self.status or JobStatus.WAITING),
            session_id=self.session_id,
            output_format=self.output_format,
            input_params=self.input_params,
            metadata=self.metadata,
            creation_time=self.creation_time,
            begin_time=self.begin_time,
            end_time=self.end_time,
            error_code=self.code,
            error_message=self.message,
            cost=self.cost,
        )


@dataclass(frozen=True, slots=True)
class JournalRun:
    """One run in a journal: everything written from one opening to its closing.

    Attributes:
        host, pid: Where it ran, and the id of its process there.
        started: When it first wrote.
        ended: When it was closed or found dead; None while it is alive.
    """

    id: int
    host: str
    pid: int
    started: float
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class JournalSession:
    """One session in a journal.

    Attributes:
        workspace: The identity of its workspace.
        run: The id of the run that opened it, or that is now responsible for closing it.
        opened: When the pool was about to open it; 0 if this is not known.
        closed: When it was seen to have ended; None if it may be open.
    """

    id: str
    target: str
    name: str
    opened: float = 0.0
    closed: float | None = None
    workspace: str = field(default="", repr=False)
    run: int = 0


RowT = TypeVar("RowT", JournalEntry, JournalRun, JournalSession)


def read_row(cls: type[RowT], row: sqlite3.Row) -> RowT:
    """The run or session in a row whose columns are its attributes, in order.

    Raises:
        sqlite3.DatabaseError: If the row is damaged: SQLite stores values of any type.
    """
    with _translating_damage(f"the row of a {cls.__name__}"):
        return _checked_row(cls(*row))


def _checked_row(item: RowT) -> RowT:
    """The item itself, if each attribute has its declared type."""
    for each in fields(item):
        value = getattr(item, each.name)
        if not _IS_OF_TYPE[str(each.type)](value):
            raise ValueError(f"{each.name} cannot be {type(value).__name__}")
    return item


@contextmanager
def _translating_damage(what: str) -> Iterator[None]:
    try:
        yield
    except (LookupError, TypeError, ValueError, OverflowError, RecursionError) as error:
        damage = sqlite3.DatabaseError(f"{what} is invalid")
        damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise damage from error


def _is_moment(value: Any) -> bool:
    """Whether a value is a time that Python can represent as a date."""
    return isinstance(value, int | float) and _FIRST_MOMENT <= value < _LAST_MOMENT


# The years 1 to 9999.
_FIRST_MOMENT, _LAST_MOMENT = -62_135_596_800, 253_402_300_800


def _is_of_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())


def _is_cost(value: Any) -> bool:
    return (
        isinstance(value.total, int | float)
        and isinstance(value.currency, str)
        and all(isinstance(each, dict) for each in value.events)
    )


# By the annotations of the rows' attributes.
_IS_OF_TYPE: dict[str, Callable[[Any], bool]] = {
    "int": lambda value: isinstance(value, int),
    "str": lambda value: isinstance(value, str),
    "float": _is_moment,
    "bool": lambda value: isinstance(value, bool),
    "EntryState": lambda value: isinstance(value, EntryState),
    "Mapping[str, Any]": lambda value: isinstance(value, dict) and repetitions_of(value) >= 0,
    "Mapping[str, str]": _is_of_texts,
    "str | None": lambda value: isinstance(value, str | None),
    "float | None": lambda value: value is None or _is_moment(value),
    "bytes | None": lambda value: isinstance(value, bytes | None),
    "Cost | None": lambda value: value is None or _is_cost(value),
    "tuple[Place, ...]": lambda value: True,
    "tuple[int, ...]": lambda value: True,
}


def columns_of(job: Job | None) -> dict[str, Any]:
    """The service's description of a finished job, by column; nothing without a job."""
    if job is None:
        return {}
    return {
        "session_id": job.session_id,
        "status": job.status.value,
        "code": job.error_code,
        "message": job.error_message,
        "cost": None if job.cost is None else _written(job.cost),
        "creation_time": job.creation_time,
        "begin_time": job.begin_time,
        "end_time": job.end_time,
    }


def _written(cost: Cost) -> str:
    events = [dict(event) for event in cost.events]
    return json.dumps({"total": cost.total, "currency": cost.currency, "events": events})


class JobTable:
    """The jobs of a journal, as one run claims them. Methods that write need a transaction.

    Args:
        clock: The clock for the times in the rows.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def claim(self, file: sqlite3.Connection, request: JobRequest, run: int) -> JournalEntry:
        """The job that answers a request: one of an earlier run, or a new one.

        If the request already has places, it is a new job in these.
        """
        assert request.fingerprint is not None, "only such requests are journalled"
        circuit, occurrence, part = request.places[0]
        if occurrence:
            return self.insert(file, request, request.places)
        shots = repetitions_of(request.input_params)
        occurrence, entries = self.take(file, circuit, shots, run, is_whole=True)
        if not entries or entries[0].state.is_without_result:
            return self.insert(file, request, [(circuit, occurrence, part)])
        if entries[0].is_finished:
            return replace(entries[0], output=self.output(file, entries[0]))
        return entries[0]

    def take(
        self,
        file: sqlite3.Connection,
        circuit: str,
        repetitions: int,
        run: int,
        is_whole: bool = False,
    ) -> tuple[int, list[JournalEntry]]:
        """Takes the place of the next request for a circuit, which the run then holds.

        Returns:
            The number of the request for the circuit, and its jobs without their outputs. They may
            have more repetitions than requested, or fewer; if `is_whole`, there is one with exactly
            as many, or none.
        """
        asked = {"fingerprint": circuit, "repetitions": repetitions, "run": run}
        (has_lines,) = file.execute(_HAS_LINES, asked).fetchone()
        if has_lines:
            (asked["repetitions"],) = file.execute(_SELECT_REPETITIONS, asked).fetchone()
        free = file.execute(_SELECT_OF_LINES if has_lines else _SELECT_NEXT, asked).fetchone()
        entries = [] if free is None else self._parts(file, circuit, free[0])
        if is_whole and entries and [each.repetitions for each in entries] != [repetitions]:
            free, entries = None, []
        (occurrence,) = free or file.execute(_SELECT_NEW_OCCURRENCE, (circuit,)).fetchone()
        (line,) = file.execute(_HOLD, {**asked, "occurrence": occurrence}).fetchone()
        file.execute("UPDATE runs SET line = ?1 WHERE id = ?2 AND line IS NOT ?1", (line, run))
        return occurrence, entries

    def _parts(self, file: sqlite3.Connection, circuit: str, occurrence: int) -> list[JournalEntry]:
        found: list[JournalEntry] = []
        for row in file.execute(_SELECT_PARTS, (circuit, occurrence)):
            values = dict(row)
            part, block = values.pop("part"), values.pop("block")
            with _translating_damage(f"a part of request {occurrence}"):
                if not all(isinstance(each, int) and each >= 0 for each in (part, block)):
                    raise ValueError(f"{part!r} and {block!r} cannot be numbers of a part")
            place = (circuit, occurrence, part)
            found.append(replace(JournalEntry.read(values), places=(place,), blocks=(block,)))
        return found

    def migrate(
        self, file: sqlite3.Connection, circuit: str, earlier: Sequence[tuple[str, int]]
    ) -> None:
        """Migrates the places for a circuit that an earlier version recorded.

        Args:
            circuit: The fingerprint of the circuit.
            earlier: The fingerprints of a point's jobs in that version, and their repetitions.
        """
        (first,) = file.execute(_SELECT_NEW_OCCURRENCE, (circuit,)).fetchone()
        begin = 0
        for (fingerprint, repetitions), count in Counter(earlier).items():
            old = file.execute(_SELECT_EARLIER, (fingerprint,)).fetchall()
            for number, (occurrence,) in enumerate(old):
                turn, part = divmod(number, count)
                before, now = (fingerprint, occurrence), (circuit, first + turn)
                # Only the first of the jobs of a point brings its place along.
                file.execute(_MOVE_PLACE, (*now, *before))
                file.execute("DELETE FROM places WHERE (fingerprint, occurrence) = (?, ?)", before)
                file.execute(_MOVE_PART, (*now, begin + part, repetitions, *before))
                file.execute(_ADD_UP, now)
            begin += count

    def insert(
        self, file: sqlite3.Connection, request: JobRequest, places: Sequence[Place]
    ) -> JournalEntry:
        """Records a new job for places that the run holds."""
        assert request.fingerprint is not None, "only such requests are journalled"
        now = self._clock.time()
        entry = JournalEntry(
            number=0,
            job_id=request.id,
            fingerprint=request.fingerprint,
            occurrence=places[0][1],
            target=request.target,
            name=request.name,
            output_format=request.output_format,
            input_params=request.input_params,
            metadata=request.metadata,
            written=now,
            changed=now,
            places=tuple(places),
            blocks=tuple(range(len(places))),
            is_new=True,
        )
        values = {name: getattr(entry, name) for name in entry.__slots__}
        values["input_params"] = json.dumps(dict(request.input_params), default=str)
        values["metadata"] = json.dumps(dict(request.metadata))
        number = file.execute(_INSERT_JOB, values).lastrowid
        assert number is not None, "a row was inserted"
        for block, place in enumerate(places):
            row = (*place, number, block, entry.repetitions)
            file.execute("INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?, ?)", row)
            file.execute(_ADD_UP, place[:2])
        return replace(entry, number=number)

    def update(self, file: sqlite3.Connection, entry: JournalEntry, **values: Any) -> None:
        """Changes columns of a job's row."""
        values["changed"] = self._clock.time()
        columns = ", ".join(f"{name} = ?" for name in values)
        file.execute(
            f"UPDATE jobs SET {columns} WHERE number = ?", (*values.values(), entry.number)
        )

    def store_output(self, file: sqlite3.Connection, entry: JournalEntry, output: bytes) -> None:
        """Stores a job's output."""
        file.execute("INSERT OR REPLACE INTO outputs VALUES (?, ?)", (entry.number, output))

    def output(self, file: sqlite3.Connection, entry: JournalEntry) -> bytes:
        """A finished job's output."""
        query = "SELECT payload FROM outputs WHERE job = ?"
        row = file.execute(query, (entry.number,)).fetchone()
        with _translating_damage(f"the output of job {entry.job_id}"):
            (payload,) = row
            return bytes(memoryview(payload))

    def find(self, file: sqlite3.Connection, job_id: str) -> JournalEntry | None:
        """The job with an id, without its output; None if there is none."""
        row = file.execute(f"{_SELECT_BARE} WHERE jobs.id = ?", (job_id,)).fetchone()
        return None if row is None else JournalEntry.read(row)

    def is_held(self, file: sqlite3.Connection, entry: JournalEntry) -> bool:
        """Whether a live run holds the job."""
        held = "SELECT 1 FROM parts NATURAL JOIN places WHERE job = ? AND run IS NOT NULL"
        return file.execute(held, (entry.number,)).fetchone() is not None

    def all(self, file: sqlite3.Connection) -> Iterator[JournalEntry]:
        """All jobs with their outputs, in the order of submission."""
        return map(JournalEntry.read, file.execute(f"{_SELECT_JOBS} ORDER BY number"))

    def latest(self, file: sqlite3.Connection, count: int) -> list[JournalEntry]:
        """The latest jobs in the order of submission, without their outputs."""
        latest = f"{_SELECT_BARE} ORDER BY number DESC LIMIT ?"
        rows = file.execute(latest, (min(count, _MAX_ROWS),)).fetchall()
        return [JournalEntry.read(row) for row in reversed(rows)]

    def counts(self, file: sqlite3.Connection) -> dict[str, int]:
        """The number of jobs in each state, by its name."""
        found = file.execute("SELECT state, count(*) FROM jobs GROUP BY state")
        return {state.value: 0 for state in EntryState} | dict(map(tuple, found))


# The largest integer of SQLite.
_MAX_ROWS = 2**63 - 1
_JOB = """
    number, jobs.id AS job_id, jobs.fingerprint, jobs.occurrence, target, name, session_id,
    output_format, input_params, metadata, state, status, code, message, cost,
    creation_time, begin_time, end_time, written, changed
"""
_SELECT_BARE = f"SELECT {_JOB} FROM jobs"
_SELECT_JOBS = f"""
    SELECT {_JOB}, outputs.payload AS output FROM jobs LEFT JOIN outputs ON outputs.job = number
"""
_HAS_LINES = """
    SELECT (SELECT min(line) FROM places WHERE fingerprint = :fingerprint)
        < (SELECT max(line) FROM places WHERE fingerprint = :fingerprint)
"""
_SELECT_NEXT = """
    SELECT occurrence FROM places INDEXED BY places_free
    WHERE run IS NULL AND fingerprint = :fingerprint ORDER BY occurrence LIMIT 1
"""
# Of the free places of several lines, the smallest that is large enough, or else the largest.
_SELECT_REPETITIONS = """
    SELECT coalesce((
        SELECT min(repetitions) FROM places INDEXED BY places_used
        WHERE run IS NULL AND fingerprint = :fingerprint AND repetitions >= :repetitions
    ), (
        SELECT max(repetitions) FROM places INDEXED BY places_used
        WHERE run IS NULL AND fingerprint = :fingerprint
    ))
"""
# The lines of the other runs that are alive: of their last requests, and of their equal ones.
_OTHER_LINES = """
    SELECT line FROM runs WHERE ended IS NULL AND id != :run AND line IS NOT NULL
    UNION ALL
    SELECT places.line FROM runs CROSS JOIN places INDEXED BY places_of_run
    ON places.run = runs.id AND fingerprint = :fingerprint WHERE ended IS NULL AND id != :run
"""
# The order of the terms is that of `Journal`'s docstring.
_SELECT_OF_LINES = " UNION ALL ".join(
    f"""
    SELECT * FROM (
        SELECT occurrence FROM places INDEXED BY places_used
        WHERE run IS NULL AND fingerprint = :fingerprint AND repetitions = :repetitions
            AND answered = {answered} AND {condition}
        ORDER BY used, occurrence LIMIT 1
    )
    """
    for answered in (0, 1)
    for condition in (f"line NOT IN ({_OTHER_LINES})", "TRUE")
)
# A new place is in the line of the run's equal requests; the first of its kind is in that of the
# run's last request; and in one of its own where another live run is on that line.
_HOLD = f"""
    INSERT INTO places (fingerprint, occurrence, run, used, repetitions, line)
    VALUES (:fingerprint, :occurrence, :run, :run, 0, coalesce((
        SELECT line FROM (
            SELECT line FROM places INDEXED BY places_of_run
            WHERE run = :run AND fingerprint = :fingerprint
            UNION ALL
            SELECT line FROM runs WHERE id = :run AND :occurrence = 1
        )
        WHERE line NOT IN ({_OTHER_LINES}) LIMIT 1
    ), :run))
    ON CONFLICT (fingerprint, occurrence) DO UPDATE SET run = excluded.run, used = excluded.used,
        answered = 0
    RETURNING line
"""
_SELECT_NEW_OCCURRENCE = """
    SELECT coalesce(1 + max(occurrence), 1) FROM places WHERE fingerprint = ?
"""
_SELECT_PARTS = f"""
    SELECT part, block, {_JOB} FROM parts LEFT JOIN jobs ON number = job
    WHERE parts.fingerprint = ? AND parts.occurrence = ? ORDER BY job
"""
_ADD_UP = """
    UPDATE places SET repetitions = (
        SELECT sum(repetitions) FROM parts WHERE (fingerprint, occurrence) = (?1, ?2)
    )
    WHERE (fingerprint, occurrence) = (?1, ?2)
"""
_SELECT_EARLIER = """
    SELECT occurrence FROM places
    WHERE fingerprint = ? AND repetitions IS NULL AND run IS NULL ORDER BY line, occurrence
"""
_MOVE_PLACE = """
    UPDATE OR IGNORE places SET fingerprint = ?, occurrence = ?
    WHERE (fingerprint, occurrence) = (?, ?)
"""
_MOVE_PART = """
    UPDATE parts SET fingerprint = ?, occurrence = ?, part = ?, repetitions = ?
    WHERE (fingerprint, occurrence) = (?, ?)
"""
_INSERT_JOB = """
    INSERT INTO jobs (id, fingerprint, occurrence, target, name, output_format, input_params,
        metadata, state, written, changed)
    VALUES (:job_id, :fingerprint, :occurrence, :target, :name, :output_format, :input_params,
        :metadata, :state, :written, :written)
"""
