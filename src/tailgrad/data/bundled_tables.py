"""Two tables that come with scikit-learn, made imbalanced by a fixed rule: breast-cancer-lt and wine-lt."""

import numpy as np
from sklearn.datasets import load_breast_cancer, load_wine

from tailgrad.checks import one_of
from tailgrad.data.column import Numbers
from tailgrad.data.profiles import Profile
from tailgrad.data.source import Source
from tailgrad.data.table import TableRows

FACTORS = {"breast-cancer-lt": 10.0, "wine-lt": 5.0}
"""Imbalance factor of the training part of each."""

_LOADERS = {"breast-cancer-lt": load_breast_cancer, "wine-lt": load_wine}


def open_bundled_table(name: str) -> Source:
    """Open ``breast-cancer-lt`` (569 rows, 30 numbers, 2 classes) or ``wine-lt`` (178, 13, 3).

    Classes are in the order of their size, so that the one with the fewest rows becomes the rarest. Training
    rows are thinned to an exponential profile of imbalance factor 10 or 5; the test part is not thinned.

    Args:
        name: one of the two.

    Raises:
        InputError: another name.

    Source:
        Wolberg, Street and Mangasarian 1993, "Breast Cancer Wisconsin (Diagnostic)", and Forina et al. 1991,
        "Wine" (both UCI), the copies in scikit-learn. The factors are ours.

    Example:
        >>> source = open_bundled_table("breast-cancer-lt")
        >>> source.class_names, source.counts, source.profile.imb_factor
        (('benign', 'malignant'), (357, 212), 10.0)
    """
    bunch = _LOADERS[one_of("name", name, _LOADERS)]()
    counts = np.bincount(bunch.target)
    order = np.argsort(-counts, kind="stable")
    columns = [
        Numbers(str(column), bunch.data[:, j].astype(np.float64))
        for j, column in enumerate(bunch.feature_names)
    ]
    return Source(
        name=name,
        items=TableRows(columns, "class"),
        labels=np.argsort(order)[bunch.target].astype(np.int64),
        class_names=tuple(str(bunch.target_names[k]) for k in order),
        given=("",) * len(bunch.target),
        regime="table",
        profile=Profile("exponential", FACTORS[name]),
    )
