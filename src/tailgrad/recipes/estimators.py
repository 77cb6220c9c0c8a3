"""Classifiers for tables that are no networks: boosted trees, and an ensemble over balanced subsets."""

from collections.abc import Callable, Sequence
from typing import Any

from tailgrad.checks import InputError, nearest, one_of
from tailgrad.recipes.components import NONE
from tailgrad.recipes.config import NamedConfig

MOST_CATEGORIES = 254
"""Categories up to which trees of scikit-learn's histograms treat a column as categories."""


def _boosting(options: dict[str, Any], categorical: Sequence[int], seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    columns = list(categorical) or None
    return HistGradientBoostingClassifier(categorical_features=columns, random_state=seed, **options)


def _self_paced(options: dict[str, Any], categorical: Sequence[int], seed: int) -> Any:  # noqa: ARG001 - as above
    from sklearn.tree import DecisionTreeClassifier

    from tailgrad.samplers import SelfPacedEnsemble

    tree = DecisionTreeClassifier(max_depth=options.pop("max_depth", 10))
    return SelfPacedEnsemble(tree, random_state=seed, **options)


_MAKERS: dict[str, tuple[Callable[[dict[str, Any], Sequence[int], int], Any], tuple[str, ...]]] = {
    "hist_gradient_boosting": (
        _boosting,
        (
            "learning_rate",
            "max_iter",
            "max_leaf_nodes",
            "max_depth",
            "min_samples_leaf",
            "l2_regularization",
            "class_weight",
            "early_stopping",
        ),
    ),
    "self_paced_ensemble": (_self_paced, ("n_estimators", "k_bins", "max_depth")),
}
ESTIMATORS = tuple(_MAKERS)
"""What ``estimator.name`` may be."""


def check_estimator(named: NamedConfig) -> None:
    """Check the name of an estimator, and of its options.

    Raises:
        InputError: one is unknown; the nearest is given.

    Example:
        >>> check_estimator(NamedConfig(name="hist_gradient_bosting"))
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: estimator.name must be a known name, got 'hist_gradient_bosting'; ...
    """
    one_of("estimator.name", named.name, [NONE, *ESTIMATORS])
    known = _MAKERS[named.name][1] if named.name != NONE else ()
    for option in named.options:
        if option not in known:
            hint = nearest(option, known) if known else "it takes none"
            raise InputError(f"estimator.options.{option} is not an option of {named.name}; {hint}")


def make_estimator(named: NamedConfig, categorical: Sequence[int], seed: int) -> Any:
    """An estimator of scikit-learn's kind.

    Args:
        named: name and options.
        categorical: columns that hold categories, where the estimator can tell.
        seed: fixes what it draws.

    Raises:
        InputError: as ``check_estimator``.

    Example:
        >>> make_estimator(NamedConfig(name="self_paced_ensemble", options={"k_bins": 3}), [], 0).k_bins
        3
    """
    check_estimator(named)
    return _MAKERS[named.name][0](dict(named.options), categorical, seed)
