import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from tailgrad.checks import InputError
from tailgrad.evaluate import Threshold, apply_threshold, tune_threshold


@given(st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=40))
def test_no_other_threshold_does_better(pairs: list[tuple[int, bool]]) -> None:
    scores = np.array([score for score, _ in pairs]) / 12
    focus = np.array([belongs for _, belongs in pairs])
    focus[0] = True
    found = tune_threshold(scores, focus)
    reached = f1_score(focus, scores >= found.value)
    accepted = scores >= np.linspace(-0.01, 1.01, 60)[:, None]
    best = (2 * (accepted & focus).sum(1) / (accepted.sum(1) + focus.sum())).max()
    assert reached == pytest.approx(best)
    assert found.f1.value == pytest.approx(reached)


def test_lies_midway_and_prefers_fewer_alarms() -> None:
    assert tune_threshold([0.9, 0.5, 0.1], [True, False, False]).value == pytest.approx(0.7)
    # Cutting after one (P=1, R=1/2) and after four (P=1/2, R=1) gives F1 = 2/3 both times.
    assert tune_threshold([0.9, 0.6, 0.5, 0.4], [True, False, False, True]).value == pytest.approx(0.75)


@given(st.floats(0, 1, exclude_min=True), st.integers(1, 4))
def test_the_middle_of_neighbouring_numbers_is_not_the_lower_one(high: float, steps: int) -> None:
    low = high
    for _ in range(steps):
        low = float(np.nextafter(low, 0))
    found = tune_threshold([high, low], [True, False])
    assert low < found.value <= high
    assert found.f1.value == 1


def test_survives_json_and_takes_tensors() -> None:
    found = tune_threshold(torch.tensor([0.9, 0.2]), torch.tensor([1, 0]))
    assert Threshold.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_applied_threshold_moves_only_the_focus() -> None:
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(4), 50)
    plain = probabilities.argmax(1)
    assert (apply_threshold(probabilities, 2, -1.0) == 2).all()
    never = apply_threshold(probabilities, 2, 2.0)
    assert not (never == 2).any()
    assert (never[plain != 2] == plain[plain != 2]).all()
    found = apply_threshold(probabilities, 2, 0.3)
    assert ((found == 2) == (probabilities[:, 2] >= 0.3)).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: tune_threshold([], []), "N at least 1"),
        (lambda: tune_threshold([0.1], [True, False]), r"got \(1,\) and \(2,\)"),
        (lambda: tune_threshold([0.1, np.nan], [True, False]), "finite, got nan"),
        (lambda: tune_threshold([0.1, 0.2], [False, False]), "got none of 2"),
        (lambda: apply_threshold(np.zeros((3, 1)), 0, 0.5), r"K at least 2, got shape \(3, 1\)"),
        (lambda: apply_threshold(np.zeros((3, 2)), 2, 0.5), "focus must be in"),
    ],
)
def test_bad_input_is_named(call, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()
