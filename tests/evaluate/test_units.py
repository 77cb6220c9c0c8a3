import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailgrad.evaluate import Units, units_of


@given(st.integers(1, 5), st.integers(1, 5), st.randoms())
def test_every_run_is_in_one_unit_whatever_their_order(splits: int, seeds: int, random) -> None:
    runs = [(seed, split) for split in range(splits) for seed in range(seeds)]
    random.shuffle(runs)
    found = units_of(runs)
    assert sorted(place for unit in found.members for place in unit) == list(range(len(runs)))
    several = splits > 1
    assert (found.name, found.count) == (("split", splits) if several else ("seed", len(runs)))
    assert found.single is (splits == 1 or seeds == 1)
    for unit in found.members if several else ():
        assert len({runs[place][1] for place in unit}) == 1


def test_runs_are_called_by_what_tells_them_apart() -> None:
    assert units_of([(s, s) for s in range(4)]).name == "seed", "seed s draws split s"
    assert units_of([(0, s) for s in range(4)]).name == "split", "one seed, several splits"
    assert units_of([(0, None)]).name == "seed"
    # What is left of three seeds of three splits: splits tell these runs apart, seeds do not.
    assert units_of([(0, 0), (0, 1), (1, 2)]).name == "split"
    # Each run has a seed of its own, and two share their images all the same.
    assert units_of([(0, 0), (1, 0), (2, 1)]) == Units("split", ((0, 1), (2,)))


def test_means_are_over_the_runs_of_a_unit() -> None:
    assert units_of([(0, 5), (0, 7), (1, 5), (1, 7)]).means([1.0, 10.0, 2.0, 30.0]) == [1.5, 20.0]


@pytest.mark.parametrize(
    ("units", "words"),
    [
        (units_of([(0, None)]), "1 seed"),
        (units_of([(s, s) for s in range(3)]), "3 seeds"),
        (units_of([(0, split) for split in (4, 7, 9)]), "3 splits"),
        (units_of([(0, 0), (1, 0), (0, 1), (1, 1)]), "2 splits of 2 seeds"),
        (Units("split", ((0, 1), (2,))), "2 splits of 1 to 2 seeds"),
        (Units("split", ((0, 1, 2), (3, 4), (5,))), "3 splits of 1 to 3 seeds"),
    ],
)
def test_words(units: Units, words: str) -> None:
    assert units.words == words
