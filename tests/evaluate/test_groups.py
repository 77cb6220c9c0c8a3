import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailgrad.evaluate import Group, shots, thirds, wilson
from tailgrad.evaluate.groups import evaluate_groups

COUNTS = st.lists(st.integers(0, 300), min_size=1, max_size=20)


@given(COUNTS)
def test_shots_split_the_classes(counts: list[int]) -> None:
    groups = shots(counts)
    assert sorted(k for classes in groups.values() for k in classes) == list(range(len(counts)))
    for name, classes in groups.items():
        for k in classes:
            assert name == ("many" if counts[k] > 100 else "few" if counts[k] < 20 else "medium")


@given(COUNTS)
def test_thirds_split_the_classes_in_order(counts: list[int]) -> None:
    groups = thirds(counts)
    order = [k for classes in groups.values() for k in classes]
    assert sorted(order) == list(range(len(counts)))
    ranked = [counts[k] for k in order]
    assert ranked == sorted(counts, reverse=True)
    if len(counts) > 1:
        assert len(groups["head"]) == len(groups["tail"])
        assert len(groups["head"]) - len(groups.get("middle", ())) in (-1, 0, 1)


@pytest.mark.parametrize(
    ("classes", "sizes"), [(1, [1]), (2, [1, 1]), (3, [1, 1, 1]), (10, [3, 4, 3]), (6, [2, 2, 2])]
)
def test_sizes_of_thirds(classes: int, sizes: list[int]) -> None:
    assert [len(members) for members in thirds(range(classes, 0, -1)).values()] == sizes


def test_figures_of_a_group_are_means_over_its_classes() -> None:
    recalls = [wilson(hits, 10) for hits in (9, 5, 1)]
    groups = {group.name: group for group in evaluate_groups([200, 150, 3], recalls, recalls, None)}
    assert set(groups) == {"many", "few", "head", "middle", "tail"}
    assert groups["many"].recall.value == pytest.approx(0.7)
    assert groups["few"].recall.low == pytest.approx(recalls[2].low)
    assert groups["tail"].classes == (2,)
    for group in groups.values():
        assert Group.from_dict(group.to_dict()) == group
