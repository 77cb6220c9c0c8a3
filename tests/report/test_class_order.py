import numpy as np
import pytest

from tailgrad.report.class_order import alike, by_count, grouped, order_of, places_of_alike
from tailgrad.types import ClassInfo


def blocks(sizes: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Likeness of shuffled members of a few families, and the families."""
    family = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    noise = np.random.default_rng(seed).normal(0, 0.05, (len(family), len(family)))
    return 0.8 * (family[:, None] == family[None, :]) + noise, family


@pytest.mark.parametrize("sizes", [[4, 4, 4], [1, 7, 20], [2, 2]])
def test_members_of_a_family_stand_together(sizes: list[int]) -> None:
    likeness, family = blocks(sizes)
    order = alike(likeness)
    assert sorted(order.tolist()) == list(range(len(family)))
    borders = np.count_nonzero(np.diff(family[order]))
    assert borders == len(sizes) - 1


def test_unknown_values_keep_every_class() -> None:
    likeness, _ = blocks([3, 3])
    likeness[0], likeness[:, 0] = np.nan, np.nan
    assert sorted(alike(likeness).tolist()) == list(range(6))
    assert sorted(alike(np.full((5, 5), np.nan)).tolist()) == list(range(5))


def test_few_classes_stand_by_count_and_many_by_likeness() -> None:
    info = ClassInfo(tuple("abc"), (1, 9, 5))
    assert [group.tolist() for group in order_of(np.eye(3), info)] == [[1], [2], [0]]
    likeness, family = blocks([40, 40])
    many = ClassInfo(tuple(map(str, range(80))), tuple(range(80)))
    groups = order_of(likeness, many)
    assert len(groups) == 60
    assert sum(len(set(family[group])) > 1 for group in groups) <= 1


def test_places_lead_from_one_order_to_the_other() -> None:
    likeness, _ = blocks([3, 4])
    info = ClassInfo(tuple("abcdefg"), (5, 3, 9, 1, 2, 8, 7))
    groups = grouped(by_count(info))
    places = places_of_alike(groups, likeness)
    assert [int(groups[at][0]) for at in places] == alike(likeness).tolist()
