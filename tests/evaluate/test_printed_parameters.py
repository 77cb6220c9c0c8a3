import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailgrad.checks import InputError
from tailgrad.evaluate import parameters_follow


@given(st.integers(10**5, 10**8), st.integers(1, 10**8), st.booleans())
def test_printed_totals_of_true_numbers_are_consistent(before: int, added: int, truncated: bool) -> None:
    units = [n // 10_000 if truncated else round(n / 10_000) for n in (before, before + added)]
    totals = [f"{n / 100:.2f}" for n in units]
    increase = f"{100 * added / before:.1f}"
    verdicts = [one.verdict for one in parameters_follow(*totals, added=added, increase=increase)]
    assert verdicts == ["consistent", "consistent"]


def test_totals_of_the_csba_paper() -> None:
    """442,368 gate weights fit 1.35M to 1.79M, as does 32.6 %; three scalars do not fit 1.35M to 1.37M."""
    fits = parameters_follow("1.35", "1.79", added=3 * 2 * 768 * 96, increase="32.6")
    assert [one.verdict for one in fits] == ["consistent", "consistent"]
    (wrong,) = parameters_follow("1.35", "1.37", added=3)
    assert wrong.verdict == "impossible"
    assert (wrong.numbers["lowest"], wrong.numbers["highest"]) == (5_000, 35_000)
    assert parameters_follow("1.35", "1.79", increase="36.0")[0].verdict == "impossible"


@pytest.mark.parametrize("before", ["much", "0", "-1.35", "nan", "1e999"])
def test_totals_that_are_no_numbers_are_refused(before: str) -> None:
    with pytest.raises(InputError, match="before must be"):
        parameters_follow(before, "1.79", added=3)
