"""Wrong labels put into a training part on purpose."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from tailgrad.checks import InputError
from tailgrad.data.label_noise import noisy_labels
from tailgrad.recipes.compose import compose
from tailgrad.recipes.prepare import prepare
from tailgrad.recipes.prepared import Prepared

LABELS = np.random.default_rng(0).integers(0, 5, 4000)
WHERE = np.arange(0, 4000, 2)


def prepared(rate: float, split_seed: int = 0) -> Prepared:
    data: dict[str, Any] = {"label_noise": rate, "near_duplicates": False, "size": 8}
    return prepare(compose("digits-lt", "digits", "ce", {"data": data, "split_seed": split_seed}))


@pytest.mark.parametrize("rate", [0.2, 0.4, 0.9])
def test_the_share_of_wrong_labels_is_the_rate(rate: float) -> None:
    wrong = int((noisy_labels(LABELS, WHERE, rate, 5, seed=1) != LABELS).sum())
    assert stats.binomtest(wrong, len(WHERE), rate).pvalue > 0.001


def test_every_other_class_is_as_likely() -> None:
    labels = np.zeros(6000, np.int64)
    found = noisy_labels(labels, np.arange(6000), 0.5, 4, seed=2)
    assert stats.chisquare(np.bincount(found[found > 0], minlength=4)[1:]).pvalue > 0.001


def test_only_the_positions_given_change_and_the_input_stays() -> None:
    before = LABELS.copy()
    found = noisy_labels(LABELS, WHERE, 0.9, 5, seed=3)
    assert (before == LABELS).all()
    assert (found[1::2] == LABELS[1::2]).all()
    assert (noisy_labels(LABELS, WHERE, 0.0, 5, seed=3) == LABELS).all()


def test_the_draw_is_the_seed_s() -> None:
    first, again, other = (noisy_labels(LABELS, WHERE, 0.4, 5, seed=s) for s in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
def test_rates_outside_are_refused(rate: float) -> None:
    with pytest.raises(InputError, match="label_noise must be"):
        noisy_labels(LABELS, WHERE, rate, 5, seed=0)


def test_prepared_data_have_wrong_labels_in_training_only() -> None:
    clean, noisy = prepared(0.0), prepared(0.4)
    for part in ("train", "val", "test"):
        assert (clean.index(part) == noisy.index(part)).all()
    for part in ("val", "test"):
        index = clean.index(part)
        assert (clean.source.labels[index] == noisy.source.labels[index]).all()
    index = clean.index("train")
    wrong = int((clean.source.labels[index] != noisy.source.labels[index]).sum())
    assert wrong == noisy.wrong_labels
    assert clean.wrong_labels == 0
    assert stats.binomtest(wrong, len(index), 0.4).pvalue > 0.001


def test_losses_and_loaders_see_the_wrong_labels() -> None:
    noisy = prepared(0.4)
    labels = noisy.source.labels[noisy.index("train")]
    assert noisy.classes.counts == tuple(np.bincount(labels, minlength=10))
    seen = np.concatenate([batch.target.numpy() for batch in noisy.loader("train", 64)])
    assert (seen == labels).all()


def test_every_split_draws_its_own_noise() -> None:
    first, again, other = prepared(0.4), prepared(0.4), prepared(0.4, split_seed=1)
    assert (first.source.labels == again.source.labels).all()
    assert first.wrong_labels != other.wrong_labels or (
        first.source.labels.shape != other.source.labels.shape
        or (first.source.labels != other.source.labels).any()
    )
