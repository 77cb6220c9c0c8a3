import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sklearn

from tailgrad.evaluate import metrics

# Methods A.9: support, then true positives and predictions of baseline and CSBA, six classes of 182 images.
SUPPORT = np.array([40, 41, 44, 19, 13, 25])
PRINTED = {
    "baseline": ([25, 24, 32, 15, 3, 19], [45, 37, 43, 22, 10, 25], 0.6153, 0.6196, 118),
    "csba": ([23, 24, 34, 15, 6, 17], [38, 39, 55, 20, 10, 20], 0.6539, 0.6440, 119),
}


def with_margins(support: np.ndarray, correct: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """A confusion matrix with these margins: wrong images dealt out greedily, off the diagonal."""
    matrix = np.diag(correct)
    missed, alarms = support - correct, predicted - correct
    while missed.sum():
        row = int(np.argmax(missed))
        wanted = np.where(np.arange(len(alarms)) == row, -1, alarms)
        column = int(np.argmax(wanted))
        if alarms[column] == 0:
            raise ValueError("margins cannot be met")
        matrix[row, column] += 1
        missed[row] -= 1
        alarms[column] -= 1
    return matrix


@pytest.mark.parametrize("method", PRINTED)
def test_printed_table_of_the_csba_paper(method: str) -> None:
    correct, predicted, macro, balanced, right = PRINTED[method]
    matrix = with_margins(SUPPORT, np.array(correct), np.array(predicted))
    assert matrix.sum(1).tolist() == SUPPORT.tolist()
    assert matrix.sum(0).tolist() == predicted
    assert metrics.macro_f1(matrix) == pytest.approx(macro, abs=5e-5)
    assert metrics.balanced_accuracy(matrix) == pytest.approx(balanced, abs=5e-5)
    assert metrics.accuracy(matrix) == pytest.approx(right / 182)


def test_printed_rows_and_the_loss_outside_physical_damage() -> None:
    without_phys = {}
    for method, (correct, predicted, *_) in PRINTED.items():
        matrix = with_margins(SUPPORT, np.array(correct), np.array(predicted))
        without_phys[method] = np.delete(metrics.f1(matrix), 4).mean()
        if method == "baseline":
            assert metrics.precision(matrix).round(3).tolist() == [0.556, 0.649, 0.744, 0.682, 0.3, 0.76]
            assert metrics.recall(matrix).round(3).tolist() == [0.625, 0.585, 0.727, 0.789, 0.231, 0.76]
            assert metrics.f1(matrix).round(3).tolist() == [0.588, 0.615, 0.736, 0.732, 0.261, 0.76]
    assert without_phys["baseline"] == pytest.approx(0.6862, abs=5e-5)
    assert without_phys["csba"] == pytest.approx(0.6803, abs=5e-5)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60))
def test_agrees_with_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    target, predicted = zip(*pairs, strict=True)
    matrix = metrics.np.zeros((5, 5), dtype=int)
    np.add.at(matrix, (target, predicted), 1)
    given_zero = {"labels": range(5), "average": None, "zero_division": 0}
    precision, recall, f1, _ = sklearn.precision_recall_fscore_support(target, predicted, **given_zero)
    np.testing.assert_allclose(metrics.precision(matrix), precision)
    np.testing.assert_allclose(metrics.recall(matrix), recall)
    np.testing.assert_allclose(metrics.f1(matrix), f1)
    assert metrics.accuracy(matrix) == pytest.approx(sklearn.accuracy_score(target, predicted))


@given(arrays(np.int64, (3, 4, 4), elements=st.integers(0, 20)))
def test_a_stack_of_matrices_gives_a_stack_of_figures(stack: np.ndarray) -> None:
    for figure in (metrics.precision, metrics.recall, metrics.f1):
        np.testing.assert_array_equal(figure(stack), np.stack([figure(matrix) for matrix in stack]))


@given(arrays(np.int64, (4, 4), elements=st.integers(1, 20)))
def test_f1_is_the_harmonic_mean_and_swaps_with_transposition(matrix: np.ndarray) -> None:
    p, r = metrics.precision(matrix), metrics.recall(matrix)
    np.testing.assert_allclose(metrics.f1(matrix), 2 * p * r / (p + r))
    np.testing.assert_allclose(metrics.precision(matrix.T), r)
    np.testing.assert_allclose(metrics.f1(matrix.T), metrics.f1(matrix))


def test_accuracy_is_mean_recall_on_a_balanced_test_set() -> None:
    matrix = np.array([[7, 2, 1], [0, 10, 0], [4, 4, 2]])
    assert metrics.accuracy(matrix) == pytest.approx(metrics.balanced_accuracy(matrix))


def test_geometric_mean_is_zero_with_one_class_never_found() -> None:
    assert metrics.geometric_mean(np.array([0.9, 0.0])) == 0
    assert metrics.geometric_mean(np.array([[0.25, 1.0], [0.4, 0.4]])) == pytest.approx([0.5, 0.4])


def test_likelihood_agrees_with_torch_even_far_out() -> None:
    logits = torch.randn(50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 300
    target = torch.arange(50) % 4
    wanted = torch.nn.functional.cross_entropy(logits, target, reduction="none")
    np.testing.assert_allclose(metrics.negative_log_likelihood(logits, target), wanted, atol=1e-9)


# Methods A.9, CIFAR-10-LT of the CSBA paper: precision, recall, F1 of the baseline, then of CSBA.
CIFAR = (
    ((0.852, 0.920, 0.884), (0.865, 0.898, 0.881)),
    ((0.831, 0.901, 0.864), (0.840, 0.885, 0.862)),
    ((0.748, 0.822, 0.783), (0.761, 0.804, 0.782)),
    ((0.680, 0.650, 0.664), (0.695, 0.678, 0.686)),
    ((0.651, 0.602, 0.625), (0.665, 0.641, 0.652)),
    ((0.615, 0.548, 0.579), (0.638, 0.615, 0.626)),
    ((0.601, 0.495, 0.542), (0.625, 0.590, 0.606)),
    ((0.552, 0.351, 0.429), (0.581, 0.485, 0.528)),
    ((0.498, 0.245, 0.328), (0.550, 0.421, 0.476)),
    ((0.445, 0.182, 0.258), (0.521, 0.398, 0.451)),
)


@pytest.mark.parametrize(("column", "printed", "implied"), [(0, 0.675, 0.5716), (1, 0.681, 0.6415)])
def test_printed_cifar_f1_follows_and_its_accuracy_does_not(
    column: int, printed: float, implied: float
) -> None:
    p, r, shown = np.array([row[column] for row in CIFAR]).T
    correct, support = 1000 * r, np.full(10, 1000.0)
    found = metrics.f1_from_margins(correct, support, correct / p)
    assert np.floor(found * 1000 + 1e-6) / 1000 == pytest.approx(shown, abs=1.001e-3)
    # On a balanced test set accuracy is mean recall, which the printed accuracy contradicts.
    assert metrics.ratio(correct, support).mean() == pytest.approx(implied, abs=1e-9)
    assert abs(printed - implied) > 0.03
