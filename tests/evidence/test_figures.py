"""Figures of runs: what a unit is, and the interval over units."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from tailgrad.checks import InputError
from tailgrad.evidence import Figure
from tailgrad.evidence.figures import difference, run_figure, units


def run(value: float, seed: int = 0, split: int = 0, images: int = 20, train: int = 60) -> dict[str, Any]:
    rows = [{"name": "cat of prey", "recall": {"value": value / 2}, "f1": {"value": 0.25}, "support": 3}]
    test = {"macro_f1": {"value": value}, "classes": rows, "images": images}
    return {"seed": seed, "split_seed": split, "train_images": train, "test": test}


def test_a_metric_a_class_a_tuned_figure_and_the_focus() -> None:
    result = run(0.5) | {"tuned": {"macro_f1": 0.6}, "focus": {"f1": {"value": 0.7}}}
    wanted = {"macro_f1": 0.5, "recall of cat of prey": 0.25, "f1 of cat of prey": 0.25}
    wanted |= {"worst_f1": 0.25, "tuned_macro_f1": 0.6, "focus_f1": 0.7}
    assert {metric: run_figure(result, metric) for metric in wanted} == wanted


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("macro_f2", "metric must be one that runs have, got 'macro_f2'"),
        ("focus_f1", "metric must be one that runs have, got 'focus_f1'"),
        ("recall of cat", "must name a class, got 'cat'; choose from cat of prey"),
        ("support of cat of prey", "must be one of precision, recall, f1, .* of a class, got 'support'"),
    ],
)
def test_what_a_run_does_not_have(metric: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        run_figure(run(0.5) | {"focus": None}, metric)


def test_seeds_are_the_units_of_one_split() -> None:
    assert units([run(0.1, seed=0, split=7), run(0.3, seed=1, split=7)], "macro_f1") == {0: 0.1, 1: 0.3}


def test_splits_are_the_units_where_there_are_several() -> None:
    runs = [run(0.1, 0, 0), run(0.3, 1, 0), run(0.6, 0, 1), run(0.8, 1, 1)]
    assert units(runs, "macro_f1") == pytest.approx({0: 0.2, 1: 0.7})
    assert units([run(0.1, 4, 4), run(0.2, 5, 5)], "macro_f1") == {4: 0.1, 5: 0.2}


def test_the_interval_over_redrawn_splits_is_that_of_nadeau_and_bengio() -> None:
    a = [0.50, 0.56, 0.61, 0.58]
    b = [0.52, 0.60, 0.60, 0.66]
    first = [run(v, s, s) for s, v in enumerate(a)]
    second = [run(v, s, s) for s, v in enumerate(b)]
    gain = np.subtract(b, a)
    for own_test, extra in ((True, 0.0), (False, 20 / 60)):
        found = difference(second, first, "macro_f1", own_test=own_test)
        error = gain.std(ddof=1) * math.sqrt(1 / 4 + extra)
        half = stats.t.ppf(0.975, 3) * error
        assert found.extra_variance == pytest.approx(extra)
        assert (found.mean.value, found.mean.low, found.mean.high) == pytest.approx(
            (gain.mean(), gain.mean() - half, gain.mean() + half)
        )
        assert found.p(0.01) == pytest.approx(2 * stats.t.sf(abs(gain.mean() - 0.01) / error, 3))


def test_p_agrees_with_scipy_and_with_the_interval() -> None:
    values = [0.03, 0.05, 0.02, 0.09, 0.04]
    found = Figure.over(values)
    assert found.p(0.0) == pytest.approx(stats.ttest_1samp(values, 0.0).pvalue)
    assert found.p(float(found.mean.low or 0)) == pytest.approx(0.05)


def test_one_split_needs_no_wider_interval() -> None:
    runs = [run(0.5, 0, 3), run(0.6, 1, 3)]
    assert difference(runs, None, "macro_f1", own_test=False).extra_variance == 0


def test_runs_that_only_one_method_has_are_left_out() -> None:
    first = [run(0.5, 0, 0), run(0.9, 1, 0), run(0.4, 0, 1)]
    second = [run(0.6, 0, 0), run(0.6, 0, 1), run(0.1, 0, 2)]
    found = difference(second, first, "macro_f1", own_test=True)
    assert found.values == pytest.approx((0.1, 0.2)), "seed 1 of split 0 is not averaged in"
    with pytest.raises(InputError, match="none in common"):
        difference([run(0.5, 0)], [run(0.5, 1)], "macro_f1", own_test=True)


@pytest.mark.parametrize("values", [[], [0.5, float("nan")], [float("inf")]])
def test_values_that_are_no_figures(values: list[float]) -> None:
    with pytest.raises(InputError, match="values must be finite"):
        Figure.over(values)


def test_a_figure_survives_its_dictionary() -> None:
    found = Figure.over([0.1, 0.2, 0.4], extra_variance=0.25, what="recall")
    assert Figure.from_dict(found.to_dict()) == found
