import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax

from tailgrad.checks import InputError
from tailgrad.evaluate import evaluate, expected_calibration_error
from tailgrad.evaluate import scored as module
from tailgrad.evaluate.scored import scored
from tailgrad.types import ClassInfo


def example(images: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    target = random.integers(0, classes, images)
    return (3 * random.normal(size=(images, classes))).astype(np.float32), target


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 40), st.integers(1, 20), st.integers(1, 200), st.booleans())
def test_agrees_with_the_whole_softmax_class_by_class(
    images: int, classes: int, bins: int, cells: int, columns_first: bool
) -> None:
    logits, target = example(images, classes)
    if columns_first:
        logits = np.asfortranarray(logits)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CELLS", cells)
        found = scored(logits, target, bins=bins)
    whole = np.minimum(softmax(logits.astype(np.float64), axis=1), 1)
    nll = -log_softmax(logits.astype(np.float64), axis=1)[np.arange(images), target]
    np.testing.assert_array_equal(found.predicted, logits.argmax(1))
    np.testing.assert_allclose(found.confidence, whole.max(1), rtol=1e-12)
    np.testing.assert_allclose(found.nll, nll, rtol=1e-12, atol=1e-15)
    for k in range(classes):
        wanted = expected_calibration_error(whole[:, k], target == k, bins)
        assert found.class_ece[k] == pytest.approx(wanted, abs=1e-12)


def test_a_value_that_is_not_finite_is_named_by_its_image_in_any_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_CELLS", 10)
    logits, target = example(20, 5)
    logits[13, 2] = -np.inf
    with pytest.raises(InputError, match=r"logits\[13, 2\]=-inf"):
        scored(logits, target)


def test_memory_does_not_grow_with_the_logits() -> None:
    logits, target = example(6000, 2000)
    info = ClassInfo(tuple(map(str, range(2000))), (5,) * 2000)
    tracemalloc.start()
    found = evaluate(logits, target, info, resamples=20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # One copy in double precision would be 96 MB, a matrix of counts 32 MB.
    assert peak < 60e6
    assert len(found.to_dict()["confusion"]["cells"]) <= 6000
