"""The exact distribution of Wilcoxon's signed-rank sum, ties included."""

import numpy as np

from tailgrad.evaluate.confusion import Floats

_EXACT_UP_TO = 50


def signed_rank_p(differences: Floats) -> float:
    """Two-sided p value of the rank sum of the positive differences: twice the smaller tail.

    Under the null every sign is a fair coin, and adding one rank after another gives the distribution of
    their sum. SciPy has it only without ties; with them it goes through all ``2^n`` signs, or approximates.
    Beyond 50 differences the normal approximation is SciPy's.

    Args:
        differences: [n], none of them 0.

    Source: Wilcoxon (1945); ties share their mean rank.

    Example:
        >>> signed_rank_p(np.array([0.1, 0.1, 0.2, 0.3, -0.1, 0.4]))
        0.125
    """
    from scipy import stats  # takes half a second

    if len(differences) > _EXACT_UP_TO:
        return float(stats.wilcoxon(differences).pvalue)
    doubled = np.rint(2 * stats.rankdata(np.abs(differences))).astype(np.int64)  # mean ranks end on a half
    chances = np.ones(1)
    for rank in doubled:
        chances = 0.5 * (np.pad(chances, (0, rank)) + np.pad(chances, (rank, 0)))
    observed = int(doubled[differences > 0].sum())
    return float(min(1.0, 2 * min(chances[: observed + 1].sum(), chances[observed:].sum())))
