import pytest
from statsmodels.stats.proportion import confint_proportions_2indep

from tailgrad.checks import InputError
from tailgrad.evaluate import fisher_exact, newcombe


def test_worked_figures() -> None:
    found = newcombe(6, 13, 3, 13)
    assert (round(found.value, 3), round(found.low, 3), round(found.high, 3)) == (0.231, -0.125, 0.519)
    assert round(fisher_exact(6, 13, 3, 13), 3) == 0.411


@pytest.mark.parametrize("counts", [(6, 13, 3, 13), (0, 10, 4, 20), (50, 60, 10, 90), (7, 7, 0, 5)])
def test_newcombe_agrees_with_statsmodels(counts: tuple[int, int, int, int]) -> None:
    wanted = confint_proportions_2indep(*counts, method="newcomb", compare="diff", alpha=0.05)
    found = newcombe(*counts)
    assert (found.low, found.high) == pytest.approx(wanted, abs=1e-9)
    swapped = newcombe(*counts[2:], *counts[:2])
    assert (swapped.low, swapped.high) == pytest.approx((-found.high, -found.low))


def test_impossible_counts_are_named() -> None:
    with pytest.raises(InputError, match=r"\[0, total=3\], got 4"):
        fisher_exact(4, 3, 1, 3)
    with pytest.raises(InputError, match="got -1"):
        newcombe(-1, 3, 1, 3)
