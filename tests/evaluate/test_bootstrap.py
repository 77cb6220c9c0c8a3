import numpy as np
import pytest

from tailgrad.checks import InputError
from tailgrad.evaluate import bootstrap as module
from tailgrad.evaluate import bootstrap_macro_f1, confusion_matrix, macro_f1, wilson_f1
from tailgrad.evaluate.bootstrap import bootstrap, mean_f1, percentile

MATRIX = np.array([[30, 8, 2], [5, 20, 5], [3, 4, 3]])


def test_agrees_with_drawing_images_one_by_one() -> None:
    rows, columns = np.nonzero(MATRIX)
    target, predicted = np.repeat(rows, MATRIX[rows, columns]), np.repeat(columns, MATRIX[rows, columns])
    random = np.random.default_rng(5)
    picks = random.integers(0, len(target), (1500, len(target)))
    slow = [macro_f1(confusion_matrix(predicted[pick], target[pick], 3)) for pick in picks]
    fast = bootstrap(MATRIX, seed=1, resamples=1500).f1.mean(1)
    assert fast.mean() == pytest.approx(np.mean(slow), abs=0.006)
    assert np.quantile(fast, [0.025, 0.975]) == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=0.015)


def test_same_seed_same_interval_and_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bootstrap(MATRIX, seed=3, resamples=40)
    monkeypatch.setattr(module, "_BLOCK", 50)
    in_blocks = bootstrap(MATRIX, seed=3, resamples=40)
    np.testing.assert_array_equal(whole.f1, in_blocks.f1)
    np.testing.assert_array_equal(whole.recall, in_blocks.recall)
    assert not np.array_equal(whole.f1, bootstrap(MATRIX, seed=4, resamples=40).f1)


def test_interval_shrinks_with_the_root_of_the_images() -> None:
    small, large = bootstrap_macro_f1(MATRIX), bootstrap_macro_f1(MATRIX * 16)
    assert small.value == pytest.approx(large.value)
    assert (small.high - small.low) / (large.high - large.low) == pytest.approx(4, rel=0.2)


def test_a_thousand_classes_fit() -> None:
    matrix = np.diag(np.full(1000, 3)) + np.roll(np.diag(np.full(1000, 2)), 1, axis=1)
    found = bootstrap_macro_f1(matrix, resamples=100)
    assert found.value == pytest.approx(0.6)
    assert found.low < 0.6 < found.high + 0.05


def test_mean_f1_is_never_a_point_and_never_narrower_than_the_bootstrap() -> None:
    perfect = np.diag([5, 5])
    draws = bootstrap(perfect, resamples=20).f1
    found = mean_f1([wilson_f1(5, 5, 5)] * 2, draws)
    assert np.ptp(draws) == 0
    assert found.low < 0.9
    assert found.high == 1
    plain = bootstrap_macro_f1(MATRIX)
    correct, support, predicted = MATRIX.diagonal(), MATRIX.sum(1), MATRIX.sum(0)
    parts = [wilson_f1(*counts) for counts in zip(correct.tolist(), support, predicted, strict=True)]
    wide = mean_f1(parts, bootstrap(MATRIX).f1)
    assert wide.low <= plain.low < plain.high <= wide.high
    assert mean_f1(parts, None).low is None


def test_percentile_holds_its_figure() -> None:
    found = percentile(0.9, np.linspace(0.1, 0.5, 100))
    assert found.low < 0.2
    assert found.high == 0.9


def test_no_resample_is_refused() -> None:
    with pytest.raises(InputError, match="resamples must be in"):
        bootstrap(MATRIX, resamples=0)


def test_mean_f1_covers_with_a_class_of_four_images_where_the_bootstrap_does_not() -> None:
    supports, recalls = np.array([200, 50, 10, 4]), np.array([0.95, 0.8, 0.5, 0.3])
    spread = supports / (supports.sum() - supports[:, None])
    cells = np.where(np.eye(4, dtype=bool), recalls, (1 - recalls)[:, None] * spread) * supports[:, None]
    truth = macro_f1(cells)
    drawn = np.random.default_rng(0).multinomial(264, (cells / cells.sum()).ravel(), size=150)
    plain_held = held = 0
    for matrix in drawn.reshape(150, 4, 4):
        parts = [
            wilson_f1(int(matrix[k, k]), int(matrix[k].sum()), int(matrix[:, k].sum())) for k in range(4)
        ]
        draws = bootstrap(matrix, resamples=200).f1
        found, plain = mean_f1(parts, draws), percentile(macro_f1(matrix), draws.mean(1))
        held += found.low <= truth <= found.high
        plain_held += plain.low <= truth <= plain.high
    assert held / 150 >= 0.92
    assert plain_held / 150 < 0.88


def test_a_matrix_without_images_is_refused() -> None:
    with pytest.raises(InputError, match="confusion must hold at least 1 image"):
        bootstrap_macro_f1(np.zeros((2, 2), dtype=np.int64))
