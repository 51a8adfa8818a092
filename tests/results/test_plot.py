"""Sweeps against their parameter."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import cirq
import numpy as np
import pytest
import sympy
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from numpy.testing import assert_allclose

from cirq_azure_sessions import AzureResult, SweepResults, plot_sweep

A, B, C, D = cirq.LineQubit.range(4)
THETA = sympy.Symbol("theta")
CIRCUIT = cirq.Circuit(cirq.rx(THETA)(A), cirq.CNOT(A, B), cirq.measure(A, B, key="m"))
SWEEP = cirq.Linspace("theta", 0, np.pi, 5)


@pytest.fixture(autouse=True)
def no_display() -> Iterator[None]:
    plt.switch_backend("agg")
    yield
    plt.close("all")


@pytest.fixture
def results() -> list[cirq.Result]:
    return list(cirq.Simulator(seed=1).run_sweep(CIRCUIT, SWEEP, 100))


def lines(ax: Axes) -> dict[str, np.ndarray]:
    """The points of each line by its label, as rows (x, y)."""
    handles, labels = ax.get_legend_handles_labels()
    return {
        label: np.asarray(handle[0].get_xydata())
        for handle, label in zip(handles, labels, strict=True)
    }


def test_each_outcome_is_a_line_of_the_fractions_that_gave_it(results: list[cirq.Result]) -> None:
    shown = lines(plot_sweep(results))
    assert list(shown) == ["00", "11"]
    for label, outcome in (("00", 0), ("11", 3)):
        assert_allclose(shown[label][:, 0], np.linspace(0, np.pi, 5))
        counts = [result.histogram(key="m")[outcome] for result in results]
        assert_allclose(shown[label][:, 1], np.array(counts) / 100)


def test_bars_are_one_standard_error(results: list[cirq.Result]) -> None:
    ax = plot_sweep(results)
    fraction = results[2].histogram(key="m")[0] / 100
    _, _, (bars,) = ax.containers[0]
    low, high = bars.get_segments()[2][:, 1]
    assert (high - low) / 2 == pytest.approx(np.sqrt(fraction * (1 - fraction) / 100))


def test_axes_are_named_and_the_legend_has_the_keys(results: list[cirq.Result]) -> None:
    ax = plot_sweep(results)
    legend = ax.get_legend()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("theta", "fraction of repetitions")
    assert legend is not None
    assert legend.get_title().get_text() == "m"


def test_given_axes_are_drawn_on_and_returned(results: list[cirq.Result]) -> None:
    _, ax = plt.subplots()
    assert plot_sweep(results, ax, linestyle=":") is ax
    assert {line.get_linestyle() for line in ax.lines} == {":"}


def test_sweep_results_plot_themselves(results: list[cirq.Result]) -> None:
    ours = SweepResults(AzureResult.from_result(result) for result in results)
    assert list(lines(ours.plot())) == ["00", "11"]
    assert ours.plot(symbol=THETA).get_xlabel() == "theta"


def test_points_that_failed_are_left_out(results: list[cirq.Result]) -> None:
    assert len(lines(plot_sweep([None, *results[1:]]))["00"]) == 4


def test_points_are_in_order_of_the_parameter(results: list[cirq.Result]) -> None:
    xs = lines(plot_sweep(results[::-1]))["00"][:, 0]
    assert list(xs) == sorted(xs)


def test_rare_outcomes_are_summed_up() -> None:
    qubits = [A, B, C, D]
    circuit = cirq.Circuit(cirq.rx(THETA).on_each(*qubits), cirq.measure(*qubits, key="m"))
    results = cirq.Simulator(seed=1).run_sweep(circuit, SWEEP, 500)
    shown = lines(plot_sweep(results))
    assert list(shown)[-1] == "9 more"
    assert len(shown) == 8
    assert_allclose(sum(line[:, 1] for line in shown.values()), 1)


def wide(theta: float, *outcomes: int) -> cirq.Result:
    """A result of one key of 70 bits."""
    bits = [cirq.big_endian_int_to_bits(outcome, bit_count=70) for outcome in outcomes]
    return cirq.ResultDict(
        params=cirq.ParamResolver({"theta": theta}), measurements={"long" * 20: np.array(bits)}
    )


def test_long_outcomes_and_keys_leave_room_for_the_lines() -> None:
    ax = plot_sweep([wide(theta, 0, 2**70 - 1) for theta in range(3)])
    assert list(lines(ax)) == ["0" * 12 + "..." + "0" * 12, "1" * 12 + "..." + "1" * 12]
    ax.figure.canvas.draw()
    legend = ax.get_legend()
    assert legend is not None
    assert legend.get_window_extent().width < ax.bbox.width / 2


def test_shortened_outcomes_stay_distinct() -> None:
    ax = plot_sweep([wide(theta, 0, 1 << 30, 1 << 50) for theta in range(3)])
    assert len(lines(ax)) == 3


def test_a_heat_map_of_long_outcomes_has_a_short_label() -> None:
    grid = [
        cirq.ResultDict(
            params=cirq.ParamResolver({"theta": theta, "phi": phi}), records=wide(0, 0).records
        )
        for theta in range(2)
        for phi in range(2)
    ]
    label = f"fraction with {'long' * 3}...{'long' * 3} = {'0' * 12}...{'0' * 12}"
    assert plot_sweep(grid).figure.axes[1].get_ylabel() == label


def test_number_of_each_result_is_plotted_unchanged(results: list[cirq.Result]) -> None:
    ax = plot_sweep(results, value=lambda result: result.repetitions)
    assert_allclose(ax.lines[0].get_xydata()[:, 1], 100)


def test_a_number_of_each_repetition_is_plotted_as_its_mean(results: list[cirq.Result]) -> None:
    ax = plot_sweep(results, value=lambda result: 1 - 2.0 * result.measurements["m"][:, 0])
    means = [1 - 2 * result.measurements["m"][:, 0].mean() for result in results]
    assert_allclose(ax.lines[0].get_xydata()[:, 1], means)
    _, _, (bars,) = ax.containers[0]
    low, high = bars.get_segments()[2][:, 1]
    assert (high - low) / 2 == pytest.approx(np.sqrt((1 - means[2] ** 2) / 100))


PHI = cirq.Circuit(cirq.rx(THETA)(A), cirq.rz(sympy.Symbol("phi"))(A), cirq.measure(A, key="m"))


def test_two_parameters_that_vary_together_need_a_choice() -> None:
    sweep = cirq.Zip(cirq.Linspace("theta", 0, 1, 3), cirq.Linspace("phi", 5, 6, 3))
    results = cirq.Simulator(seed=1).run_sweep(PHI, sweep, 10)
    with pytest.raises(ValueError, match=r"vary in theta, phi: name the one to plot"):
        plot_sweep(results)
    assert plot_sweep(results, symbol="phi").get_xlabel() == "phi"


def test_a_symbol_works_as_its_name_does() -> None:
    sweep = cirq.Zip(cirq.Linspace("theta", 0, 1, 3), cirq.Linspace("phi", 5, 6, 3))
    for keys in (sweep, cirq.Zip(cirq.Linspace(THETA, 0, 1, 3), cirq.Linspace("phi", 5, 6, 3))):
        results = cirq.Simulator(seed=1).run_sweep(PHI, keys, 10)
        assert plot_sweep(results, symbol=THETA).get_xlabel() == "theta"
        assert plot_sweep(results, symbol=sympy.Symbol("phi")).get_xlabel() == "phi"
        with pytest.raises(ValueError, match="no parameter gamma"):
            plot_sweep(results, symbol=sympy.Symbol("gamma"))


@pytest.fixture(scope="module")
def grid() -> list[cirq.Result]:
    """Three angles theta, for each of which phi, that changes nothing, has two."""
    sweep = cirq.Points("theta", [0, np.pi / 2, np.pi]) * cirq.Points("phi", [6, 5])
    return list(cirq.Simulator(seed=1).run_sweep(PHI, sweep, 100))


def ones(result: cirq.Result) -> float:
    return float(result.measurements["m"].mean())


def cells(ax: Axes) -> np.ndarray:
    (mesh,) = ax.collections
    return np.asarray(mesh.get_array()).reshape(2, 3)


def test_a_grid_is_drawn_as_a_heat_map(grid: list[cirq.Result]) -> None:
    ax = plot_sweep(grid, value=ones)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("theta", "phi")
    expected = np.array([ones(result) for result in grid]).reshape(3, 2).T[::-1]
    assert_allclose(cells(ax), expected)


def test_a_heat_map_names_the_outcome_that_it_shows(grid: list[cirq.Result]) -> None:
    shown = grid[2:]  # from pi/2 on, 1 is more frequent
    ax = plot_sweep(shown)
    assert ax.figure.axes[-1].get_ylabel() == "fraction with m = 1"
    (mesh,) = ax.collections
    assert_allclose(mesh.get_array()[1, 1], 1)


def test_a_failed_point_leaves_its_cell_empty(grid: list[cirq.Result]) -> None:
    drawn = cells(plot_sweep([None, *grid[1:]], value=ones))
    assert np.ma.getmaskarray(np.ma.masked_invalid(drawn)).tolist() == [
        [False, False, False],
        [True, False, False],
    ]


def test_a_symbol_turns_a_grid_into_lines(grid: list[cirq.Result]) -> None:
    ax = plot_sweep(grid, symbol=THETA, value=ones)
    shown = lines(ax)
    assert list(shown) == ["5", "6"]
    assert_allclose(shown["5"][:, 1], [ones(result) for result in grid[1::2]])
    assert_allclose(shown["6"][:, 1], [ones(result) for result in grid[0::2]])
    assert ax.get_legend().get_title().get_text() == "phi"
    assert plot_sweep(grid, symbol=THETA).get_ylabel().startswith("fraction with m = ")


def test_lines_that_cannot_be_distinguished_are_a_heat_map() -> None:
    sweep = cirq.Linspace("theta", 0, 1, 2) * cirq.Linspace("phi", 5, 6, 8)
    results = cirq.Simulator(seed=1).run_sweep(PHI, sweep, 10)
    ax = plot_sweep(results, symbol="phi")
    assert list(lines(ax)) == ["0", "1"]
    ax = plot_sweep(results, symbol="theta")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("theta", "phi")


def test_sweeps_by_name_are_compared_in_the_fraction_of_one_outcome() -> None:
    exact, noisy = (
        cirq.DensityMatrixSimulator(seed=1, noise=noise).run_sweep(CIRCUIT, SWEEP, 100)
        for noise in (None, cirq.depolarize(0.1))
    )
    ax = plot_sweep({"ideal": exact, "$noisy$": [*reversed(noisy), None]})
    shown = lines(ax)
    assert list(shown) == ["ideal", r"\$noisy\$"]
    outcome = {"fraction with m = 00": 0, "fraction with m = 11": 3}[ax.get_ylabel()]
    for line, sweep in zip(shown.values(), (exact, noisy), strict=True):
        assert_allclose(line[:, 0], np.linspace(0, np.pi, 5))
        assert_allclose(line[:, 1], [result.histogram(key="m")[outcome] / 100 for result in sweep])


def test_a_comparison_that_cannot_be_drawn_leaves_no_figure(
    grid: list[cirq.Result], results: list[cirq.Result]
) -> None:
    for sweeps in ({"one": grid, "other": grid}, {str(name): results for name in range(8)}):
        with pytest.raises(ValueError, match="Only sweeps of one parameter are compared"):
            plot_sweep(sweeps)
    with pytest.raises(ValueError, match="the sweep has no points"):
        plot_sweep({})
    assert not plt.get_fignums()


def test_three_parameters_are_plotted_one_value_of_the_others_at_a_time() -> None:
    circuit = PHI[:-1] + cirq.Circuit(cirq.ry(sympy.Symbol("eta"))(A)) + PHI[-1:]
    sweep = cirq.Product(*(cirq.Linspace(name, 0, 1, 2) for name in ("theta", "phi", "eta")))
    results = cirq.Simulator(seed=1).run_sweep(circuit, sweep, 10)
    with pytest.raises(ValueError, match="one value of the other parameters at a time"):
        plot_sweep(results, symbol="theta")
    plot_sweep([result for result in results if result.params["eta"] == 0])


@pytest.mark.parametrize(
    ("results", "reason"),
    [
        ([], "the sweep has no points"),
        (SweepResults(), "the sweep has no points"),
        ([None, None], "all points failed"),
        (
            [AzureResult(params=cirq.ParamResolver({"t": 1}), records={"m": np.zeros((0, 1, 1))})],
            "no repetitions",
        ),
        ([AzureResult(records={"m": np.zeros((5, 1, 1))})], "the results have no parameters"),
    ],
    ids=["no points", "no points of ours", "failed", "no repetitions", "no parameters"],
)
def test_empty_plot_is_refused_and_leaves_no_figure(
    results: list[cirq.Result | None], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        plot_sweep(results)
    assert plt.get_fignums() == []


def test_missing_parameter_is_named(results: list[cirq.Result]) -> None:
    with pytest.raises(ValueError, match="no parameter gamma; they vary in theta"):
        plot_sweep(results, symbol="gamma")


@pytest.mark.filterwarnings("error")
def test_many_plots_keep_few_figures_open(results: list[cirq.Result]) -> None:
    plots = [plot_sweep(results) for _ in range(25)]
    assert len(plt.get_fignums()) == 10
    assert plt.gca() is plots[-1]
    plots[0].figure.savefig(io.BytesIO())


def points(*settings: dict[str, Any]) -> list[cirq.Result]:
    return [
        cirq.ResultDict(params=cirq.ParamResolver(each), measurements={"m": np.zeros((1, 1), int)})
        for each in settings
    ]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ([{"a": 1}, {}, {"a": 2}], "a is missing at one point"),
        ([{"a": 1}, {"a": 2j}], "a is 2j at one point: plot against a parameter that has numbers"),
        ([{"a": 1}, {"a": "x"}], "a is x at one point: plot against a parameter that has numbers"),
    ],
)
def test_point_without_the_plotted_parameter_is_refused(settings: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        plot_sweep(points(*settings))
