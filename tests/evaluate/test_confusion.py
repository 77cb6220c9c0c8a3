import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix as sklearn_confusion

from tailgrad.checks import InputError
from tailgrad.evaluate import confusion_matrix
from tailgrad.evaluate.confusion import as_numpy, class_indices
from tailgrad.evaluate.scored import scored


def test_agrees_with_scikit_learn_and_takes_any_container() -> None:
    random = np.random.default_rng(0)
    target, predicted = random.integers(0, 5, 200), random.integers(0, 5, 200)
    wanted = sklearn_confusion(target, predicted, labels=range(5))
    for wrap in (np.asarray, torch.as_tensor, np.ndarray.tolist):
        assert np.array_equal(confusion_matrix(wrap(predicted), wrap(target), 5), wanted)


def test_tensors_with_gradient_and_half_precision_become_arrays() -> None:
    logits = torch.tensor([[1.0, -2.0]], dtype=torch.bfloat16, requires_grad=True)
    assert scored(logits, [0]).nll.dtype == np.float64
    assert as_numpy(logits).tolist() == [[1.0, -2.0]]


@pytest.mark.parametrize(
    ("indices", "classes", "length", "words"),
    [
        ([], 3, None, r"N at least 1, got shape \(0,\)"),
        ([[0, 1]], 3, None, r"got shape \(1, 2\)"),
        ([0, 3], 3, None, r"from 0 to 2, got target\[1\]=3"),
        ([-1, 0], 3, None, r"got target\[0\]=-1"),
        ([0.0, 1.0], 3, None, "integers, got float64"),
        ([True, False], 3, None, "integers, got bool"),
        ([0, 1], 3, 3, r"one entry an image \(3\), got 2"),
    ],
)
def test_bad_indices_are_named(indices: list[float], classes: int, length: int | None, words: str) -> None:
    with pytest.raises(InputError, match=words):
        class_indices(indices, classes, "target", length)


@pytest.mark.parametrize(
    ("logits", "classes", "words"),
    [
        (np.zeros(3), None, r"\[N, K\].*got shape \(3,\)"),
        (np.zeros((0, 3)), None, r"got shape \(0, 3\)"),
        (np.zeros((2, 3)), 4, r"one column a class \(4\), got 3"),
        ([[0.0, np.nan]], None, r"finite numbers, got logits\[0, 1\]=nan"),
        ([[np.inf, 0.0]], None, r"logits\[0, 0\]=inf"),
    ],
)
def test_bad_logits_are_named(logits: list[list[float]], classes: int | None, words: str) -> None:
    with pytest.raises(InputError, match=words):
        scored(logits, np.zeros(len(logits), np.int64), classes)
