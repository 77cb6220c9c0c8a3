import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from tailgrad.checks import InputError
from tailgrad.evaluate import Estimate, student_t, wilson, wilson_f1
from tailgrad.evaluate.intervals import combined


@pytest.mark.parametrize(("hits", "low", "high"), [(3, 0.082, 0.503), (6, 0.232, 0.709)])
def test_worked_wilson_figures(hits: int, low: float, high: float) -> None:
    found = wilson(hits, 13)
    assert (round(found.low, 3), round(found.high, 3)) == (low, high)


@given(st.integers(1, 500), st.floats(0, 1), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_wilson_agrees_with_statsmodels(total: int, share: float, level: float) -> None:
    hits = round(share * total)
    low, high = proportion_confint(hits, total, alpha=1 - level, method="wilson")
    found = wilson(hits, total, level)
    assert found.low == pytest.approx(low, abs=1e-9)
    assert found.high == pytest.approx(high, abs=1e-9)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_nothing_known_without_images() -> None:
    for found in (wilson(0, 0), wilson_f1(0, 0, 0)):
        assert (found.value, found.low, found.high) == (0, 0, 1)
        assert "no image" in found.how


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_f1_interval_holds_f1(correct: int, missed: int, alarms: int) -> None:
    found = wilson_f1(correct, correct + missed, correct + alarms)
    whole = 2 * correct + missed + alarms
    assert found.value == pytest.approx(2 * correct / whole if whole else 0)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high


@pytest.mark.parametrize("shares", [(0.05, 0.03, 0.04, 0.88), (0.01, 0.01, 0.02, 0.96)])
def test_f1_interval_covers_where_a_bootstrap_does_not(shares: tuple[float, ...]) -> None:
    truth = 2 * shares[0] / (2 * shares[0] + shares[1] + shares[2])
    drawn = np.random.default_rng(1).multinomial(60, shares, size=1500)
    held = [wilson_f1(tp, tp + fn, tp + fp) for tp, fp, fn, _ in drawn.tolist()]
    assert 0.93 <= np.mean([part.low <= truth <= part.high for part in held]) <= 0.99


def test_combined_of_one_is_itself_and_shrinks_with_more() -> None:
    one = wilson(3, 10)
    alone, four = combined([one]), combined([one] * 4)
    assert (alone.value, alone.low, alone.high) == pytest.approx((one.value, one.low, one.high))
    assert four.high - four.value == pytest.approx((one.high - one.value) / 2)


def test_combined_recalls_cover() -> None:
    random, truth = np.random.default_rng(0), np.array([0.95, 0.5, 0.1])
    supports = np.array([40, 12, 6])
    held = 0
    for hits in random.binomial(supports, truth, size=(800, 3)).tolist():
        found = combined([wilson(h, int(n)) for h, n in zip(hits, supports, strict=True)])
        held += found.low <= truth.mean() <= found.high
    assert held / 800 >= 0.93


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=12), st.sampled_from([0.5, 0.9, 0.95]))
def test_student_t_agrees_with_scipy(values: list[float], level: float) -> None:
    if min(values) == max(values):
        assert student_t(values, level).low is None
        return
    spread = np.std(values, ddof=1) / len(values) ** 0.5
    found = student_t(values, level)
    if spread > 1e-9:
        wanted = stats.t.interval(level, len(values) - 1, loc=np.mean(values), scale=spread)
        assert (found.low, found.high) == pytest.approx(wanted, abs=1e-9)


def test_student_t_from_one_value_has_no_interval() -> None:
    assert student_t([0.3]) == Estimate(0.3, None, None, "one seed: no interval")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: wilson(5, 3), r"\[0, total=3\], got 5"),
        (lambda: wilson(-1, 3), "got -1"),
        (lambda: wilson(1, 3, 1.0), r"level must be in \(0, 1\), got 1.0"),
        (lambda: wilson_f1(4, 3, 9), "support=3"),
        (lambda: student_t([]), "at least one"),
        (lambda: student_t([0.1, float("nan")]), "nan"),
        (lambda: student_t([0.1, 0.2], 0.95, -1.0), "extra_variance"),
    ],
)
def test_bad_input_is_named(call, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()
