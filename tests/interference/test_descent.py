"""Descent against real steps on linear losses, and drops planted in a history."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailgrad.checks import InputError
from tailgrad.interference.contributions import contributions as contributions_of
from tailgrad.interference.descent import InitialDrop, descent, initial_drop, words

NAN = float("nan")


def _problem(seed: int, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Gradients, their cosines and norms, and counts from 1 to 1000."""
    random = np.random.default_rng(seed)
    gradients = random.normal(size=(classes, 3)) * random.uniform(0.1, 10, size=(classes, 1))
    norms = np.linalg.norm(gradients, axis=1)
    unit = gradients / norms[:, None]
    return gradients, unit @ unit.T, norms, random.integers(1, 1000, classes)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), classes=st.integers(2, 7))
def test_verdicts_are_those_of_real_steps_on_linear_losses(seed: int, classes: int) -> None:
    gradients, cosines, norms, counts = _problem(seed, classes)
    result = descent(cosines, norms, counts)
    plain = counts @ gradients / counts.sum()
    normalised = (gradients / norms[:, None]).sum(0)
    # loss_c(theta) = <g_c, theta>, so that a step u changes it by exactly -<g_c, u>
    np.testing.assert_array_equal(result.descends, gradients @ plain > 0)
    np.testing.assert_array_equal(result.normalised, gradients @ normalised > 0)
    np.testing.assert_allclose(result.plain * norms, gradients @ plain, rtol=1e-9, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), classes=st.integers(2, 7))
def test_normalised_steps_never_fail_every_class(seed: int, classes: int) -> None:
    _, cosines, norms, counts = _problem(seed, classes)
    result = descent(cosines, norms, counts)
    assert result.row_sums.sum() >= -1e-9  # the squared norm of the summed unit vectors
    assert result.normalised.any()
    assert result.descends.any()


@given(cosine=st.floats(-0.999999, 1), ratio=st.floats(1e-3, 1e3))
def test_two_classes_always_descend_under_normalised_steps(cosine: float, ratio: float) -> None:
    conflict = np.array([[1, cosine], [cosine, 1]])
    assert descent(conflict, np.array([ratio, 1]), np.array([1000, 1])).normalised.all()


def test_two_exactly_opposed_classes_do_not() -> None:
    conflict = np.array([[1.0, -1.0], [-1.0, 1.0]])
    result = descent(conflict, np.array([1.0, 2.0]), np.array([2, 1]))
    assert not result.normalised.any()
    assert not result.descends.any()  # 2/3 of norm 1 against 1/3 of norm 2: a stationary point
    np.testing.assert_allclose(result.row_sums, 0, atol=1e-15)


def test_of_three_classes_one_need_not_descend() -> None:
    unit = np.array([[1.0, 0.0], [-0.6, 0.8], [-0.6, 0.8]])
    result = descent(unit @ unit.T, np.ones(3), np.array([10, 10, 10]))
    np.testing.assert_allclose(result.row_sums, [-0.2, 1.4, 1.4])
    assert result.normalised.tolist() == [False, True, True]


def test_imbalance_alone_stops_the_rare_class_and_normalising_repairs_it() -> None:
    conflict = np.array([[1.0, -0.3], [-0.3, 1.0]])
    balanced, rare = (descent(conflict, np.ones(2), np.array(counts)) for counts in ([50, 50], [99, 1]))
    assert balanced.descends.all()
    assert rare.descends.tolist() == [True, False]
    assert rare.normalised.all()
    assert "plain gradient step does not lower the loss of b." in rare.words("ab")
    assert "normalised class gradients lowers the loss of every class" in rare.words("ab")


def test_a_class_without_a_gradient_takes_no_part() -> None:
    conflict = np.array([[1.0, NAN, -0.5], [NAN, NAN, NAN], [-0.5, NAN, 1.0]])
    result = descent(conflict, np.array([1.0, NAN, 1.0]), np.array([90, 0, 10]))
    np.testing.assert_allclose(result.row_sums, [0.5, NAN, 0.5])
    np.testing.assert_allclose(result.plain, [0.85, NAN, -0.35])
    assert result.normalised.tolist() == [True, False, True]
    assert "loss of c." in result.words("abc")  # b is not known, so it is not accused


@pytest.mark.parametrize(
    ("conflict", "norms", "counts", "said"),
    [
        (np.eye(3), np.ones(2), [1, 1], r"must be \[K, K\] and \[K\] for the 2 classes"),
        (np.eye(2), np.ones(3), [1, 1], r"got \[2, 2\] and \[3\]"),
        (np.eye(2), np.ones(2), [0, 0], "the sum of counts must be in"),
    ],
)
def test_shapes_that_do_not_fit(
    conflict: np.ndarray, norms: np.ndarray, counts: list[int], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        descent(conflict, norms, np.array(counts))


# Initial drop


def _history() -> tuple[np.ndarray, np.ndarray]:
    """20 records of 3 classes; class 2 is driven uphill in records 2 to 6 and absent from record 4."""
    products = np.ones((20, 3))
    losses = np.linspace(2, 1, 20)[:, None].repeat(3, 1)
    products[2:7, 2] = -1
    losses[2:8, 2] = [1.0, 1.1, NAN, 1.3, 1.4, 1.5]
    products[4, 2] = NAN
    return products, losses


def test_a_planted_drop_is_found_across_a_missing_record() -> None:
    assert initial_drop(*_history(), "abc") == [InitialDrop("c", 2, 6, 1.0, 1.5)]


def test_a_drop_is_named_by_the_recorded_steps_and_only_early_ones_count() -> None:
    steps = range(100, 300, 10)
    (drop,) = initial_drop(*_history(), "abc", steps=steps, until=120)
    assert (drop.first, drop.last) == (120, 160)
    assert initial_drop(*_history(), "abc", steps=steps, until=119) == []


def test_opposed_but_falling_or_rising_but_helped_is_no_drop() -> None:
    products, losses = _history()
    losses[:, 2] = np.linspace(2, 1, 20)
    assert initial_drop(products, losses, "abc") == []
    products, losses = _history()
    assert initial_drop(np.abs(products), losses, "abc") == []


def test_short_stretches_are_left_out() -> None:
    products, losses = _history()
    assert initial_drop(products, losses, "abc", shortest=4)
    assert initial_drop(products, losses, "abc", shortest=5) == []
    products[5, 2] = 1  # two runs of two are left
    assert initial_drop(products, losses, "abc") == []
    assert [(d.first, d.last) for d in initial_drop(products, losses, "abc", shortest=1)] == [(2, 3), (6, 6)]


def test_a_drop_that_lasts_to_the_end_is_judged_by_its_own_last_loss() -> None:
    losses = np.array([[1.0], [1.2], [1.5]])
    assert initial_drop(-np.ones((3, 1)), losses, "a") == [InitialDrop("a", 0, 2, 1.0, 1.5)]


def test_drops_come_in_order_of_their_first_step() -> None:
    products = -np.ones((6, 2))
    products[:2, 0] = 1
    losses = np.arange(12.0).reshape(6, 2)
    assert [drop.class_name for drop in initial_drop(products, losses, "ab")] == ["b", "a"]


def test_culprits_are_those_whose_part_hurt_most() -> None:
    products, losses = _history()
    table = np.zeros((20, 3, 3))
    table[:, 2] = [-3.0, -0.2, 1.0]
    table[7:, 2] = [0.0, -100.0, 1.0]  # outside the stretch
    table[4, 2] = NAN  # the class was absent
    (drop,) = initial_drop(products, losses, "abc", contributions=table)
    assert drop.culprits == ("a",)  # b did less than a tenth
    assert "driven by a" in words([drop])


def test_gradient_descent_under_imbalance_drops_the_rare_class_and_balance_does_not() -> None:
    points, target = np.array([[1.0, 0.5], [0.5, 1.0]]), np.array([0, 1])

    def history(counts: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        share, weight = np.array(counts) / sum(counts), np.zeros((2, 2))
        products, losses, tables = [], [], []
        for _ in range(15):
            odds = np.exp(points @ weight)
            p = odds / odds.sum(1, keepdims=True)
            gradients = (points[:, :, None] * (p - np.eye(2)[target])[:, None]).reshape(2, 4)
            gram = gradients @ gradients.T
            losses.append(-np.log(p[target, target]))
            products.append(gram @ share)
            tables.append(contributions_of(gram, counts))
            weight = weight - 0.1 * (share @ gradients).reshape(2, 2)
        return np.array(products), np.array(losses), np.array(tables)

    products, losses, tables = history([95, 5])
    (drop,) = initial_drop(products, losses, ("common", "rare"), contributions=tables)
    assert (drop.class_name, drop.first, drop.culprits) == ("rare", 0, ("common",))
    assert drop.loss_after > drop.loss_before == pytest.approx(np.log(2))
    assert initial_drop(*history([50, 50])[:2], ("common", "rare")) == []


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda p, c: initial_drop(p, c[:-1], "abc"),
            r"must be \[T, K\] = \[20, 3\], got \[20, 3\] and \[19, 3\]",
        ),
        (lambda p, c: initial_drop(p, c, "ab"), r"= \[20, 2\]"),
        (lambda p, c: initial_drop(p, c, "abc", steps=[1, 2]), r"= \[2, 3\]"),
        (lambda p, c: initial_drop(p, c, "abc", shortest=0), "shortest must be in"),
        (
            lambda p, c: initial_drop(p, c, "abc", contributions=np.ones((20, 3))),
            r"contributions must be \[T, K, K\] = \[20, 3, 3\], got \[20, 3\]",
        ),
    ],
)
def test_a_history_that_does_not_fit(call: Callable[..., object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        call(*_history())


def test_words_without_a_drop() -> None:
    assert words([]).startswith("No class")
