import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailgrad.checks import InputError
from tailgrad.data.profiles import Profile, counts_for
from tailgrad.evaluate import profile_follows
from tailgrad.evaluate.printed_profile import exponential_counts

NAMES = tuple("abcdefghij")


@given(st.integers(50, 20_000), st.floats(1, 50), st.integers(2, 100))
def test_profile_is_that_of_the_data_folder(largest: int, factor: float, classes: int) -> None:
    wanted = counts_for(Profile("exponential", factor), [largest] * classes)
    assert exponential_counts(largest, factor, classes) == tuple(wanted.tolist())


def test_printed_cifar_counts_are_no_profile() -> None:
    """Arithmetic by hand: ratio .5995 a class, 12,406 images; the paper's have .594 and 12,259."""
    printed = (5000, 2973, 1765, 1049, 623, 370, 220, 131, 78, 50)
    finding = profile_follows(NAMES, printed)
    assert finding.verdict == "impossible"
    numbers = finding.numbers
    assert numbers["profile"] == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    assert numbers["deviating"] == list("bcdefghi")
    assert (numbers["sum"], numbers["profile_sum"]) == (12_259, 12_406)
    assert numbers["profile_ratio"] == pytest.approx(0.599484, abs=1e-6)
    assert all(0.593 < ratio < 0.596 for ratio in numbers["ratios"][:-1])
    assert numbers["ratios"][-1] == pytest.approx(0.641, abs=1e-3)


def test_the_profile_itself_is_consistent_and_one_wrong_count_is_found() -> None:
    counts = exponential_counts(500, 100, 10)
    assert profile_follows(NAMES, counts).verdict == "consistent"
    changed = (*counts[:4], counts[4] + 1, *counts[5:])
    assert profile_follows(NAMES, changed).numbers["deviating"] == ["e"]


@given(st.integers(50, 20_000), st.floats(1, 50), st.integers(2, 10), st.booleans())
def test_a_profile_whose_last_count_was_made_whole_is_consistent(
    largest: int, factor: float, classes: int, rounded: bool
) -> None:
    counts = exponential_counts(largest, factor, classes)
    if rounded:
        counts = tuple(round(largest * factor ** (-c / (classes - 1))) for c in range(classes))
    finding = profile_follows(NAMES[:classes], counts)
    assert finding.verdict == "consistent"
    assert finding.numbers["deviating"] == []


def test_the_factor_that_gives_the_counts_is_told() -> None:
    """256 and not 4500 / 17 = 264.7, which would give 2421 for 2430."""
    finding = profile_follows(NAMES, exponential_counts(4500, 256, 10))
    assert finding.numbers["imbalance_factor"] == pytest.approx(256, rel=0.01)
    assert "int(4500 x " in finding.sentence


@pytest.mark.parametrize("counts", [(5,), (1, 5)])
def test_counts_that_do_not_fall_are_refused(counts: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="training_counts must fall from the first"):
        profile_follows(NAMES[: len(counts)], counts)
