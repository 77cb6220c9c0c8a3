import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from torch import nn

from tailgrad.checks import InputError
from tailgrad.correction_ledger import ledger
from tailgrad.losses import CrossEntropyLoss
from tailgrad.posthoc import Chain, LogitAdjustment, TemperatureScaling
from tailgrad.types import Correction

COUNTS = [700, 200, 100]
PI = np.array(COUNTS) / 1000
MEANS = np.array([-1.0, 0.3, 1.2])
INVERSE = Correction("weight", tuple(-np.log(PI)))
BALANCED = Correction("sampling", tuple(np.log(1 / 3 / PI)))
ADJUSTED = Correction("train_shift", tuple(np.log(PI)))
POSTHOC = Correction("test_shift", tuple(np.log(PI)))
ODD = (0.4, -0.7, 1.1)


def _fitted_prior(corrections: list[Correction]) -> NDArray[np.float64]:
    # The prior in logits w x + b fitted to Gaussians of unit variance, whose best logits are
    # mean_k x - mean_k^2 / 2 + log prior_k. A fine grid with density weights stands for endless data.
    total = {
        kind: sum((np.array(c.log_shift) for c in corrections if c.kind == kind), np.zeros(3))
        for kind in ("sampling", "weight", "train_shift", "test_shift")
    }
    grid = np.linspace(-8, 8, 161)
    density = np.exp(-((grid[:, None] - MEANS) ** 2) / 2)
    mass = density * PI * np.exp(total["sampling"] + total["weight"])
    mass /= mass.sum()

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        slope, intercept = parameters.reshape(2, 3)
        logits = grid[:, None] * slope + intercept + total["train_shift"]
        error = softmax(logits, 1) * mass.sum(1, keepdims=True) - mass
        return -(mass * log_softmax(logits, 1)).sum(), np.append(grid @ error, error.sum(0))

    slope, intercept = minimize(loss, np.zeros(6), jac=True, method="BFGS", options={"gtol": 1e-9}).x.reshape(
        2, 3
    )
    np.testing.assert_allclose(slope - slope.mean(), MEANS - MEANS.mean(), atol=1e-3)
    return softmax(intercept + MEANS**2 / 2 - total["test_shift"])


@pytest.mark.parametrize(
    "corrections",
    [
        [],
        [INVERSE],
        [BALANCED],
        [ADJUSTED],
        [POSTHOC],
        [INVERSE, BALANCED],
        [BALANCED, ADJUSTED],
        [INVERSE, POSTHOC],
        [INVERSE, INVERSE, Correction("listed", ())],
        [BALANCED, INVERSE, ADJUSTED, POSTHOC],
        [Correction(kind, ODD) for kind in ("sampling", "weight", "train_shift", "test_shift")],
        [Correction("weight", ODD), Correction("train_shift", ODD[::-1])],
    ],
)
def test_the_prior_is_that_of_a_fitted_logistic_regression(corrections: list[Correction]) -> None:
    # The sampled shares of a shift that does not sum to one are normalised by both.
    found = ledger(corrections, COUNTS, allow_double_correction=True)
    np.testing.assert_allclose(found.prior, _fitted_prior(corrections), atol=3e-3)


def test_the_prior_is_that_of_scikit_learn_on_drawn_data() -> None:
    rng = np.random.default_rng(0)
    target = rng.choice(3, 60_000, p=[0.5, 0.3, 0.2])
    x = rng.normal(MEANS[target])[:, None]
    weight = {0: 1.0, 1: 2.0, 2: 0.5}
    model = LogisticRegression(C=np.inf, class_weight=weight).fit(x, target)
    drawn = Correction("sampling", tuple(np.log(np.array([0.5, 0.3, 0.2]) / PI)))
    entry = Correction("weight", tuple(math.log(w) for w in weight.values()))
    found = ledger([drawn, entry], COUNTS)
    np.testing.assert_allclose(found.prior, softmax(model.intercept_ + MEANS**2 / 2), atol=0.01)
    np.testing.assert_allclose(found.sampled_prior, [0.5, 0.3, 0.2])
    np.testing.assert_allclose(found.weights, [1, 2, 0.5])


@given(st.lists(st.floats(-3, 3), min_size=3, max_size=3), st.floats(-5, 5))
def test_constants_and_the_order_of_entries_do_not_matter(shift: list[float], constant: float) -> None:
    entry = Correction("test_shift", tuple(shift))
    moved = Correction("test_shift", tuple(s + constant for s in shift))
    first = ledger([INVERSE, entry], COUNTS, allow_double_correction=True)
    second = ledger([moved, INVERSE], COUNTS, allow_double_correction=True)
    np.testing.assert_allclose(first.prior, second.prior, rtol=1e-9)
    assert first.prior.sum() == pytest.approx(1)


@pytest.mark.parametrize("entry", [INVERSE, BALANCED, ADJUSTED, POSTHOC])
def test_one_full_correction_is_uniform_and_two_are_refused(entry: Correction) -> None:
    once = ledger([entry], COUNTS)
    np.testing.assert_allclose(once.prior, once.target)
    assert not once.over_corrected
    assert math.isnan(once.correlation)
    with pytest.raises(InputError) as error:
        ledger([("my sampler", BALANCED), ("other", entry)], COUNTS, class_names=["cat", "dog", "eel"])
    message = str(error.value)
    for words in (
        "my sampler + other",
        "allow_double_correction",
        "7 times = 1.00",
        "49 times = 2.00",
        "eel",
    ):
        assert words in message
    # pi / (pi^2) normalised.
    expected = (1 / PI) / (1 / PI).sum()
    assert f"{expected[0]:.4g} for cat" in message
    assert f"{expected[2]:.4g} for eel" in message
    both = ledger([BALANCED, entry], COUNTS, allow_double_correction=True)
    np.testing.assert_allclose(both.prior, expected)
    assert both.correlation == pytest.approx(-1)


@pytest.mark.parametrize(
    ("tau", "refused"), [(0.5, False), (1.0, False), (1.29, False), (1.31, True), (2.0, True)]
)
def test_over_correction_starts_at_three_tenths_of_the_imbalance(tau: float, refused: bool) -> None:
    method = LogitAdjustment(COUNTS, tau=tau)
    found = ledger([method], COUNTS, allow_double_correction=True)
    assert found.over_corrected is refused
    assert found.span == pytest.approx(abs(1 - tau) * math.log(7), rel=1e-5, abs=1e-6)


def test_a_shift_that_follows_the_prior_is_no_over_correction() -> None:
    assert not ledger([Correction("weight", (3.0, 1.0, 0.0))], COUNTS).over_corrected


def test_components_answer_for_themselves() -> None:
    loss = CrossEntropyLoss(COUNTS, weights="inverse")
    chain = Chain([LogitAdjustment(COUNTS, tau="tuned"), TemperatureScaling()])
    found = ledger(
        [loss, None, ("none", None), TemperatureScaling(), chain, INVERSE, INVERSE, INVERSE],
        COUNTS,
        allow_double_correction=True,
    )
    assert list(found.entries) == ["CrossEntropyLoss", "Chain", "weight", "weight 2", "weight 3"]
    assert found.listed == ("Chain",)
    np.testing.assert_allclose(found.weights, 1 / (3 * PI) / PI**3, rtol=1e-5)


def test_classes_without_examples_are_left_out() -> None:
    shift = Correction("weight", (-math.log(7), math.nan, 0.0))
    found = ledger([shift], [700, 0, 100])
    assert found.prior.tolist() == pytest.approx([0.5, 0, 0.5])
    assert "left out: 1" in found.text()
    assert found.log_imbalance == pytest.approx(math.log(7))


def test_balanced_data_need_nothing() -> None:
    plain = ledger([], [5, 5, 5])
    assert plain.text().endswith("the classes are balanced: nothing to correct")
    moved = ledger(
        [("weights", Correction("weight", ODD)), ("flat", Correction("weight", (1.0, 1.0, 1.0)))], [5, 5, 5]
    )
    assert moved.text().endswith("nothing to correct, yet weights moves it")
    # Nearly balanced: a tenth is no over-correction.
    assert not ledger([Correction("weight", (0.0, 0.06, 0.09))], [102, 101, 100]).over_corrected
    assert ledger(
        [Correction("weight", (0.0, 0.1, 0.2))], [102, 101, 100], allow_double_correction=True
    ).over_corrected


def test_text_and_dictionary() -> None:
    counts = list(range(300, 0, -1))
    found = ledger([("adjusted", Correction("test_shift", tuple(np.log(counts))))], counts)
    lines = str(found).splitlines()
    assert len(lines) == 17
    assert max(map(len, lines)) <= 110
    assert "  ... 290 more" in lines
    assert lines[-1].startswith("the class prior is corrected: prior 0.003333 for 0, 0.003333 for")
    fields = json.loads(json.dumps(found.to_dict()))
    assert fields["correlation"] is None
    assert fields["components"][0]["name"] == "adjusted"
    np.testing.assert_allclose(fields["components"][0]["lift"], -np.log(counts))
    np.testing.assert_allclose(fields["prior"], found.prior)
    np.testing.assert_allclose(fields["test_shift"], np.log(counts))


def test_extreme_shifts_stay_finite() -> None:
    found = ledger([Correction("weight", (0.0, 0.0, 5000.0))], COUNTS, allow_double_correction=True)
    assert math.isfinite(found.span)
    assert found.over_corrected
    assert "over-corrected" in found.text()


@pytest.mark.parametrize(
    ("components", "counts", "words"),
    [
        ([nn.ReLU()], COUNTS, r"answer correction\(\), got ReLU\(\)"),
        ([("x", 3)], COUNTS, "got 3"),
        ([Correction("wait", (0.0,) * 3)], COUNTS, "kind of wait must be a known name.*'weight'"),
        ([Correction("weight", (0.0,) * 2)], COUNTS, r"one number a class \(3\), got 2"),
        (
            [("loss", Correction("weight", (0.0, -math.inf, 0.0)))],
            COUNTS,
            r"log_shift of loss .* log_shift\[1\]=-inf",
        ),
        ([], [3, -1], r"class_counts\[1\]=-1"),
        ([], {1: 90, 2: 10}, r"a list with one count a class, in class order, got \{1: 90"),
        ([], [3, math.nan], r"class_counts\[1\]=nan"),
        ([], [0, 0], r"got \[0, 0\]"),
        ([], [], r"got \[\]"),
    ],
)
def test_bad_input(components: list[object], counts: list[int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        ledger(components, counts)


def test_names_go_with_counts() -> None:
    with pytest.raises(InputError, match="3 names, got 1"):
        ledger([], COUNTS, class_names=["a"])


def test_the_loss_of_torch_is_known() -> None:
    weights = [1.0, 3.0, 9.0]
    theirs = ledger([nn.CrossEntropyLoss(weight=torch.tensor(weights))], [90, 30, 10])
    ours = ledger([CrossEntropyLoss([90, 30, 10], weights=weights)], [90, 30, 10])
    np.testing.assert_allclose(theirs.prior, ours.prior, rtol=1e-6)
    np.testing.assert_allclose(theirs.prior, [1 / 3] * 3, rtol=1e-6)
    assert ledger([nn.CrossEntropyLoss()], [90, 30, 10]).entries == {}


def test_one_component_needs_no_list() -> None:
    loss = CrossEntropyLoss([9, 1], weights="inverse")
    assert ledger(loss, [9, 1]).prior.tolist() == ledger([loss], [9, 1]).prior.tolist()
