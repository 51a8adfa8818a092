"""Layouts of results, and strict readers of results with bounded cost.

A provider returns numbered bits. The layout has the measurement key of each, the inversions and
confusion maps, and the number of repetitions. It is sent in the job's metadata, so that another
process can read the result without the circuit.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from sys import float_info
from typing import Any, ClassVar

import cirq
import numpy as np
import numpy.typing as npt
import sympy

from cirq_azure_sessions.errors import ResultFormatError
from cirq_azure_sessions.formats.expressions import value_from_json, value_to_json

__all__ = [
    "MAX_CHUNKS",
    "MAX_REPETITIONS",
    "Layout",
    "Measurement",
    "PackLayout",
    "fractions",
    "has_layout",
    "layout_as_submitted",
    "read_json",
    "read_layout",
    "settled_fractions",
    "whole_counts",
    "write_layout",
]

Bits = npt.NDArray[np.uint8]
Matrix = tuple[tuple[float, ...], ...]

# The format versions of `write_layout`, for one point and for a pack. A reader refuses others.
_VERSION = 1
_PACK_VERSION = 2

# Azure documents no limit on the length of a metadata value. IonQ's own API documents 400
# characters, and cirq-ionq keeps to 40; 250 is a guess on the safe side.
_CHUNK = 250

# Layouts longer than this are compressed.
_LONG = 4_000
# Every recorded metadata key is a single word. Earlier versions had no such prefix.
_PREFIX = "cirq_azure_sessions_"
_EARLIER_PREFIX = "cirq-azure-sessions."
# The maximum number of chunks of a job: 250,000 characters; Azure documents no limit. They are sent
# with the job, and returned in lists of 100 jobs.
MAX_CHUNKS = 1_000

# The maximum repetitions of a call: more than any provider runs, and than fit in memory.
MAX_REPETITIONS = 100_000_000

# Bounds for a reader, so that hostile metadata costs neither time nor memory. They leave room for a
# point whose parameters are longer than the first one's.
_MAX_CHUNKS_READ = 4 * MAX_CHUNKS
_MAX_TEXT = 16_000_000
_MAX_BITS = 100_000
_MAX_CONFUSED = 12
_MAX_SEED = 2**512

# Tolerance for the sum of a histogram's probabilities: services round them and lose shots. The
# SDK's reader for Qiskit has the same (azure.quantum.qiskit.job of azure-quantum 3.13).
_SUM_TOLERANCE = 1.001e-2
# Tolerance for negative probabilities due to rounding.
_ZERO_TOLERANCE = 1e-9
# Tolerance, in shots, for the rounding of fractions.
_COUNT_TOLERANCE = 0.05


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measurement of the circuit.

    Attributes:
        key: The measurement key, as cirq writes it.
        bits: For each qubit measured, the number of its bit in the provider's result.
        inverted: The positions in `bits` that `invert_mask` flips.
        confusion: Pairs of positions in `bits` and the confusion matrix on them, as in
            `cirq.MeasurementGate.confusion_map`, in its order.
    """

    key: str
    bits: tuple[int, ...]
    inverted: tuple[int, ...] = ()
    confusion: tuple[tuple[tuple[int, ...], Matrix], ...] = ()

    @classmethod
    def of_gate(cls, gate: cirq.MeasurementGate, bits: Sequence[int]) -> Measurement:
        """The measurement of `gate`, given the numbers of the bits that it writes.

        Raises:
            ValueError: If a confusion map of the gate is not a valid one for its qubits.
        """
        return cls(
            key=gate.key,
            bits=tuple(bits),
            inverted=tuple(k for k, flip in enumerate(gate.full_invert_mask()) if flip),
            confusion=tuple(
                (_positions(indices, len(bits)), _matrix(matrix, len(indices)))
                for indices, matrix in gate.confusion_map.items()
            ),
        )


@dataclass(frozen=True, slots=True)
class Layout:
    """The information needed to convert a provider's result to a `cirq.Result`.

    Attributes:
        target: The target's id.
        repetitions: The repetitions of this job.
        measurements: The measurements, in the circuit's order.
        num_bits: The number of bits in the provider's result.
        params: The sweep point.
        point: The point's index in its sweep.
        part: The index of this job among those of the point, if its repetitions were split.
        entropy: The entropy for samples drawn by the client, if any.
        samples_at_end: Whether `cirq.Simulator` would sample the circuit once, at its end.
        is_exact: Whether the provider returns probabilities to sample here, and not counts.
    """

    target: str
    repetitions: int
    measurements: tuple[Measurement, ...]
    num_bits: int
    params: cirq.ParamResolver = field(default_factory=cirq.ParamResolver)
    point: int = 0
    part: int = 0
    entropy: tuple[int, ...] = ()
    samples_at_end: bool = True
    is_exact: bool = False

    is_pack: ClassVar[bool] = False

    @property
    def blocks(self) -> tuple[Layout, ...]:
        return (self,)

    @property
    def columns(self) -> tuple[Sequence[int], ...]:
        return (range(self.num_bits),)

    def generator(self) -> np.random.Generator:
        """The random generator of this job, the same in every run with the same seed."""
        key = (self.point, self.part) if self.part else (self.point,)
        return np.random.default_rng(np.random.SeedSequence(self.entropy, spawn_key=key))

    def with_draws_of(self, earlier: Layout, *, is_seeded: bool) -> Layout:
        """This layout with the draws of `earlier`, that of the same job in an earlier run.

        With a different seed, it draws new samples from the service's result.
        """
        if is_seeded and earlier.entropy[:1] != self.entropy[:1]:
            return self
        return replace(self, entropy=earlier.entropy, point=earlier.point, part=earlier.part)

    def records(self, bits: Bits, generator: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
        """Sorts measured bits into keys, as `cirq.Simulator` returns them.

        Args:
            bits: Zeros and ones as the machine measured them, of shape (repetitions, `num_bits`).
            generator: The random generator for confusion maps.

        Returns:
            For each key an array of shape (repetitions, records of the key, qubits).
        """
        by_key: dict[str, list[npt.NDArray[Any]]] = {}
        for measurement in self.measurements:
            columns = bits[:, list(measurement.bits)]
            if measurement.confusion or measurement.inverted:
                columns = self._corrected(columns, measurement, generator)
            by_key.setdefault(measurement.key, []).append(columns)
        # The dtypes are those of cirq's two ways of sampling.
        dtype = np.int8 if self.samples_at_end else np.uint8
        return {key: np.stack(instances, axis=1).astype(dtype) for key, instances in by_key.items()}

    def distribution(self, bits: Bits, probabilities: npt.NDArray[np.float64]) -> dict[int, float]:
        """The distribution of the measured bits of all keys, as big-endian integers.

        Inversions are applied; confusion maps are not.

        Args:
            bits: Outcomes as the machine measures them, of shape (outcomes, `num_bits`).
            probabilities: The probability of each.
        """
        keys = list(dict.fromkeys(measurement.key for measurement in self.measurements))
        measured = sorted(self.measurements, key=lambda measurement: keys.index(measurement.key))
        columns = [bit for measurement in measured for bit in measurement.bits]
        flips = [k in m.inverted for m in measured for k in range(len(m.bits))]
        # Python integers if they exceed 64 bits.
        dtype = np.int64 if len(columns) < 63 else object
        weights = np.array([1 << k for k in reversed(range(len(columns)))], dtype=dtype)
        values = (bits[:, columns] ^ np.array(flips, dtype=np.uint8)).astype(dtype) @ weights
        outcomes, places = np.unique(values, return_inverse=True)
        sums = np.bincount(places, weights=probabilities)
        return dict(zip(outcomes.tolist(), sums.tolist(), strict=True))

    def _corrected(
        self, bits: Bits, measurement: Measurement, generator: np.random.Generator
    ) -> Bits:
        """Applies inversions and confusion maps, in cirq's order.

        `cirq.StepResult.sample_measurement_ops` inverts first, and each confusion matrix reads
        what the one before it wrote; `cirq.SimulationState.measure` confuses what was measured,
        then inverts.
        """
        flips = np.zeros(bits.shape[1], dtype=np.uint8)
        flips[list(measurement.inverted)] = 1
        if self.samples_at_end:
            confused = bits ^ flips
            for indices, matrix in measurement.confusion:
                confused[:, list(indices)] = _confused(confused, indices, matrix, generator)
            return confused
        confused = bits.copy()
        for indices, matrix in measurement.confusion:
            confused[:, list(indices)] = _confused(bits, indices, matrix, generator)
        return confused ^ flips


@dataclass(frozen=True, slots=True)
class PackLayout:
    """The layout of a job of several points: which bits belong to which point.

    Attributes:
        blocks: The layout of each point as if it had its own job.
        columns: For each point, the numbers of its bits in the result, in order.
        num_bits: The number of bits in the result.
    """

    blocks: tuple[Layout, ...]
    columns: tuple[Sequence[int], ...]
    num_bits: int

    is_pack: ClassVar[bool] = True

    @classmethod
    def of(
        cls, blocks: Sequence[Layout], columns: Sequence[Sequence[int]], num_bits: int
    ) -> Layout | PackLayout:
        """The layout of these points; a plain one for a single point that has all the bits."""
        if len(blocks) == 1 and [*columns[0]] == [*range(num_bits)]:
            return blocks[0]
        return cls(tuple(blocks), tuple(map(tuple, columns)), num_bits)


def layout_as_submitted(
    layout: Layout | PackLayout,
    earlier: Layout | PackLayout,
    numbers: Sequence[int],
    *,
    is_seeded: bool,
) -> Layout | PackLayout:
    """The layout to read the output of an earlier run's job for points of this run.

    Args:
        layout: The layout of the points.
        earlier: The layout of the job, which may have further points.
        numbers: For each of the points, its index in the job.
        is_seeded: As for `Layout.with_draws_of`.

    Raises:
        ResultFormatError: If the job has no such points.
    """
    if max(numbers) >= len(earlier.blocks):
        raise ResultFormatError(
            "The journal lists points for a job that does not have them: fetch its raw result from "
            "the workspace."
        )
    blocks = [
        block.with_draws_of(earlier.blocks[number], is_seeded=is_seeded)
        for block, number in zip(layout.blocks, numbers, strict=True)
    ]
    columns = [earlier.columns[number] for number in numbers]
    return PackLayout.of(blocks, columns, earlier.num_bits)


def _confused(
    bits: Bits, indices: Sequence[int], matrix: Matrix, generator: np.random.Generator
) -> Bits:
    """Draws, for each row of `bits`, new values of the columns `indices`."""
    weights = 1 << np.arange(len(indices))[::-1]
    rows = bits[:, list(indices)].astype(np.int64) @ weights
    cumulated = np.cumsum(np.asarray(matrix), axis=1)[rows]
    drawn = generator.random(len(bits))[:, np.newaxis] * cumulated[:, -1:]
    values = np.sum(drawn >= cumulated, axis=1)
    confused: Bits = ((values[:, np.newaxis] & weights) > 0).astype(np.uint8)
    return confused


def write_layout(layout: Layout | PackLayout) -> dict[str, str]:
    """The layout as metadata: a few ASCII strings of at most 250 characters each."""
    documents: list[dict[str, Any]] = []
    blocks: Sequence[Any] = layout.blocks if layout.is_pack else [layout]
    for block in blocks:
        measurements: list[list[Any]] = []
        for measurement in block.measurements:
            parts: list[Any] = [measurement.key, measurement.bits]
            if measurement.inverted or measurement.confusion:
                parts.append(measurement.inverted)
            if measurement.confusion:
                parts.append(measurement.confusion)
            measurements.append(parts)
        # Plain numbers are stored by name; any other value as a list: whether its key is a symbol,
        # the key's name, and the parts of the value.
        numbers: dict[str, Any] = {}
        others: list[list[Any]] = []
        for key, value in block.params.param_dict.items():
            if type(key) is str and type(value) in (float, int) and abs(value) <= float_info.max:
                numbers[key] = value
            elif value_parts := value_to_json(block.params, key):
                others.append([int(not isinstance(key, str)), str(key), *value_parts])
        document = {
            "v": _VERSION,
            "t": block.target,
            "r": block.repetitions,
            "n": block.num_bits,
            "m": measurements,
            "p": [numbers, others],
            "i": [block.point, block.part],
            "s": [str(integer) for integer in block.entropy],
            "f": [int(block.samples_at_end), int(block.is_exact)],
        }
        documents.append(document)
    if layout.is_pack:
        columns = [[*bits] for bits in layout.columns]
        document = {"v": _PACK_VERSION, "n": layout.num_bits, "c": columns, "b": documents}
    text = json.dumps(document, separators=(",", ":"))
    if len(text) > _LONG:
        text = base64.b64encode(zlib.compress(text.encode(), 6)).decode()
    chunks = [text[start : start + _CHUNK] for start in range(0, len(text), _CHUNK)]
    return {f"{_PREFIX}{number}": chunk for number, chunk in enumerate(chunks)}


def has_layout(metadata: Mapping[str, str]) -> bool:
    """Whether a job has a layout in its metadata, as every job of this package on Azure has."""
    return f"{_PREFIX}0" in metadata


def read_layout(metadata: Mapping[str, str]) -> Layout | PackLayout:
    """The layout that `write_layout` wrote.

    Raises:
        ResultFormatError: If there is none, or it is invalid or of a later version.
    """
    try:
        document = json.loads(_joined(metadata))
        version = document["v"]
        if version == _PACK_VERSION:
            return _pack_from_json(document)
        if version != _VERSION:
            raise ResultFormatError(
                f"The job was submitted by a newer cirq-azure-sessions (layout {version!r}); "
                "update this one to read it."
            )
        return _from_json(document)
    except ResultFormatError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as e:
        raise ResultFormatError(
            "The job's layout in its metadata is damaged; fetch its raw result from the workspace."
        ) from e


def _joined(metadata: Mapping[str, str]) -> str:
    """The joined chunks, with bounded length."""
    chunks: list[str] = []
    prefix = _PREFIX if f"{_PREFIX}0" in metadata else _EARLIER_PREFIX
    while (chunk := metadata.get(f"{prefix}{len(chunks)}")) is not None:
        chunks.append(chunk)
        if len(chunks) > _MAX_CHUNKS_READ:
            raise ValueError("too many chunks")
    if not chunks:
        raise ResultFormatError(
            "The job has no layout of cirq-azure-sessions; only jobs that it submitted can be "
            "read back."
        )
    text = "".join(chunks)
    if text.startswith("{"):
        return text
    try:
        unzip = zlib.decompressobj()
        data = unzip.decompress(base64.b64decode(text, validate=True), _MAX_TEXT)
    except (zlib.error, binascii.Error) as error:
        raise ValueError("not compressed text") from error
    if not unzip.eof:
        raise ValueError("truncated, or too long")
    return data.decode()


def _pack_from_json(document: Mapping[str, Any]) -> PackLayout:
    num_bits = _integer(document["n"], _MAX_BITS)
    blocks = tuple(_from_json(block) for block in document["b"])
    columns = tuple(tuple(_integer(bit, num_bits - 1) for bit in bits) for bits in document["c"])
    if [len(bits) for bits in columns] != [block.num_bits for block in blocks]:
        raise ValueError("not the bits of the points")
    return PackLayout(blocks, columns, num_bits)


def _from_json(document: Mapping[str, Any]) -> Layout:
    num_bits = _integer(document["n"], _MAX_BITS)
    point, part = document["i"]
    samples_at_end, is_exact = document["f"]
    numbers, others = document["p"]
    params: dict[Any, Any] = {key: value_from_json(value) for key, value in numbers.items()}
    for is_symbol, name, *parts in others:
        params[sympy.Symbol(_string(name)) if is_symbol else _string(name)] = value_from_json(
            *parts
        )
    return Layout(
        target=_string(document["t"]),
        repetitions=_integer(document["r"], MAX_REPETITIONS),
        measurements=tuple(_measurement_from_json(m, num_bits) for m in document["m"]),
        num_bits=num_bits,
        params=cirq.ParamResolver(params),
        point=_integer(point, MAX_REPETITIONS),
        part=_integer(part, MAX_REPETITIONS),
        entropy=tuple(_integer(int(_string(s)[:200]), _MAX_SEED) for s in document["s"][:64]),
        samples_at_end=bool(_integer(samples_at_end, 1)),
        is_exact=bool(_integer(is_exact, 1)),
    )


def _measurement_from_json(parts: Sequence[Any], num_bits: int) -> Measurement:
    key, bits, inverted, confusion = [*parts, (), ()][:4]
    bits = tuple(_integer(bit, num_bits - 1) for bit in bits)
    return Measurement(
        key=_string(key),
        bits=bits,
        inverted=tuple(_integer(k, len(bits) - 1) for k in inverted),
        confusion=tuple(
            (_positions(indices, len(bits)), _matrix(matrix, len(indices)))
            for indices, matrix in confusion
        ),
    )


def _positions(indices: Sequence[Any], length: int) -> tuple[int, ...]:
    if not 0 < len(indices) <= _MAX_CONFUSED:
        raise ValueError("a confusion map on too many qubits or none")
    return tuple(_integer(k, length - 1) for k in indices)


def _matrix(rows: Any, num_qubits: int) -> Matrix:
    matrix = np.asarray(rows, dtype=float)
    size = 2**num_qubits
    if matrix.shape != (size, size) or not np.all(matrix >= 0):
        raise ValueError("not a confusion matrix")
    if not np.allclose(matrix.sum(axis=1), 1, rtol=0, atol=1e-6):
        raise ValueError("not a confusion matrix")
    return tuple(map(tuple, matrix.tolist()))


def _integer(value: Any, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"not an integer from 0 to {most}")
    return value


def _string(value: Any) -> str:
    if type(value) is not str:
        raise TypeError("not a string")
    return value


def read_json(payload: Any) -> Any:
    """The JSON document in `payload`.

    Raises:
        ResultFormatError: If it is not JSON, has a duplicate member, NaN or infinities, or is
            nested too deeply to be a result.
    """
    try:
        return json.loads(payload, object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, TypeError, RecursionError):
        pass
    # Raised outside the handler: the reader's error holds the whole document.
    raise ResultFormatError(
        "The result is not a JSON document; fetch the job's output from the workspace to see "
        "what the service returned."
    )


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member named twice")
    return members


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def fractions(values: Sequence[Any]) -> npt.NDArray[np.float64]:
    """A histogram's values: fractions that sum to one, up to rounding and lost shots.

    Raises:
        ResultFormatError: If one is not a fraction, or their sum is not within 0.01 of one.
    """
    try:
        found = np.array(values, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        found = np.array([np.nan])
    are_numbers = set(map(type, values)) <= {int, float}
    if not are_numbers or not np.all((found >= -_ZERO_TOLERANCE) & (found < np.inf)):
        raise ResultFormatError(
            "The histogram holds values that are not probabilities; "
            "fetch the job's output to see it."
        )
    total = float(found.sum())
    if not abs(total - 1) <= _SUM_TOLERANCE:
        raise ResultFormatError(
            f"The histogram's probabilities sum to {total:.6g} instead of 1; "
            "fetch the job's output to see it."
        )
    return np.maximum(found, 0.0)


def settled_fractions(found: npt.NDArray[np.float64], shots: int) -> npt.NDArray[np.float64]:
    """The fractions without rounding errors, if they are rounded counts of `shots`.

    Then any number of them may be added.
    """
    counts = whole_counts(found, shots)
    are_counts = np.all(np.abs(found * shots - counts) <= _COUNT_TOLERANCE)
    return counts / shots if are_counts else found


def whole_counts(found: npt.NDArray[np.float64], shots: int) -> npt.NDArray[np.int64]:
    """The integer counts for fractions of `shots`.

    Fractions that are counts up to rounding become those counts, and the rest of `shots` was lost.
    Error mitigation gives other fractions: they are rounded by the largest remainder method, to the
    sum of `shots`.
    """
    shares = found * shots
    counts: npt.NDArray[np.int64] = np.rint(shares).astype(np.int64)
    are_counts = bool(np.all(np.abs(shares - counts) <= _COUNT_TOLERANCE))
    if are_counts and counts.sum() <= shots:
        return counts
    shares = shares / found.sum()
    counts = np.floor(shares).astype(np.int64)
    by_remainder = np.argsort(counts - shares, kind="stable")
    counts[by_remainder[: shots - int(counts.sum())]] += 1
    return counts
