"""Abstention against enumeration of all thresholds."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailgrad import InputError
from tailgrad.evaluate import abstention, area_under_risk_coverage, thirds, wilson
from tailgrad.evaluate.abstention import GRID, answered_at, threshold_for

IMAGES = st.lists(
    st.tuples(st.sampled_from([0.2, 0.4, 0.5, 0.7, 0.9]), st.booleans()), min_size=1, max_size=25
)


@given(images=IMAGES)
@settings(max_examples=60, deadline=None)
def test_area_is_the_mean_over_every_threshold_by_enumeration(images: list[tuple[float, bool]]) -> None:
    wanted = []
    for threshold, _ in images:
        kept = [right for confidence, right in images if confidence >= threshold]
        wanted.append(1 - sum(kept) / len(kept))
    confidence, right = (np.array(column) for column in zip(*images, strict=True))
    assert area_under_risk_coverage(confidence, right) == pytest.approx(sum(wanted) / len(wanted))


def test_area_of_a_perfect_order_is_its_closed_form() -> None:
    n, wrong = 200, 40
    right = np.arange(n) < n - wrong
    found = area_under_risk_coverage(np.linspace(1, 0, n), right)
    closed = sum((k - (n - wrong)) / k for k in range(n - wrong + 1, n + 1)) / n
    assert found == pytest.approx(closed)
    assert area_under_risk_coverage(np.ones(n), right) == pytest.approx(wrong / n)
    assert area_under_risk_coverage(np.linspace(0, 1, n), right) > wrong / n


@given(images=IMAGES, share=st.floats(0.01, 1))
@settings(max_examples=60, deadline=None)
def test_threshold_is_the_largest_that_answers_enough(images: list[tuple[float, bool]], share: float) -> None:
    confidence = np.array([c for c, _ in images])
    found = threshold_for(confidence, share)
    assert (confidence >= found).mean() >= share - 1e-9
    higher = confidence[confidence > found]
    if higher.size:
        assert (confidence >= higher.min()).mean() < share


def test_a_share_that_is_a_whole_number_of_images_is_not_rounded_up() -> None:
    confidence = np.linspace(1, 0.1, 10)
    assert threshold_for(confidence, 0.7) == pytest.approx(confidence[6])  # 0.7 * 10 is a little above 7


def test_groups_and_classes_are_counted_at_the_threshold_of_the_validation_images() -> None:
    random = np.random.default_rng(0)
    counts, target = (90, 30, 9), np.repeat(np.arange(3), 12)
    p = random.dirichlet(np.ones(3), len(target))
    val = random.random(50)
    found = abstention(p, target, thirds(counts), val, wanted=0.6)
    assert (val >= found.threshold).sum() == math.ceil(0.6 * 50)
    kept, right = p.max(1) >= found.threshold, p.argmax(1) == target
    for name, own in {"head": target == 0, "middle": target == 1, "tail": target == 2}.items():
        group = found.groups[name]
        assert group.answered == wilson(int((kept & own).sum()), 12)
        assert group.before == wilson(int((right & own).sum()), 12)
        assert group.after == wilson(int((kept & own & right).sum()), int((kept & own).sum()))
    assert found.classes == tuple(found.groups[name] for name in ("head", "middle", "tail"))
    assert found.overall.images == 36


def test_curves_at_full_coverage_are_recalls_and_their_mean_is_the_grid() -> None:
    random = np.random.default_rng(1)
    target = np.repeat(np.arange(4), 25)
    p = random.dirichlet(np.ones(4), len(target))
    found = abstention(p, target, thirds((9, 5, 3, 1)), p.max(1))
    right = p.argmax(1) == target
    assert found.risk[0] == pytest.approx([1 - right[target == k].mean() for k in range(4)])
    assert np.mean(found.answered, axis=1) == pytest.approx(GRID, abs=1e-9)
    assert found.aurc == area_under_risk_coverage(p.max(1), right)


def test_a_class_without_images_and_one_without_answers_say_so() -> None:
    p = np.array([[0.9, 0.05, 0.05], [0.1, 0.5, 0.4]])
    found = abstention(p, np.array([0, 1]), {"all": (0, 1, 2)}, np.array([0.8]), wanted=1.0)
    assert found.classes[1].after is None
    assert found.class_aurc[2] is None
    assert found.answered[0][2] is None
    assert found.risk[-1][1] is None
    assert answered_at(0.5, np.array([]), np.array([], dtype=bool)).images == 0


@pytest.mark.parametrize("share", [0.0, 1.2, -0.1, float("nan")])
def test_a_share_outside_its_range_is_refused(share: float) -> None:
    with pytest.raises(InputError, match="answered must be in"):
        threshold_for(np.array([0.5]), share)


def test_no_image_is_refused() -> None:
    with pytest.raises(InputError, match="at least 1 image, got none"):
        threshold_for(np.array([]), 0.5)
    with pytest.raises(InputError, match="confidence and right must be"):
        area_under_risk_coverage(np.array([0.5]), np.array([True, False]))
