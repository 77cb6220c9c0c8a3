"""SMOTE and its family for feature vectors, through imbalanced-learn."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, TypeVar
from warnings import warn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tailgrad.checks import InputError, one_of
from tailgrad.samplers.class_index import class_indices
from tailgrad.samplers.whole_number import whole

Floats = NDArray[Any]
Labels = NDArray[np.int64]
Strategy = str | float | Mapping[int, int]
Array = TypeVar("Array", NDArray[Any], Tensor)

NEIGHBOURS = {
    "smote": ("SMOTE", "k_neighbors"),
    "borderline_smote": ("BorderlineSMOTE", "k_neighbors"),
    "svm_smote": ("SVMSMOTE", "k_neighbors"),
    "adasyn": ("ADASYN", "n_neighbors"),
}
OF_CATEGORIES = ("smote", "random_over", "random_under")
"""Methods that columns of categories may be given to."""
CLEANERS = {"smote_tomek": "TomekLinks", "smote_enn": "EditedNearestNeighbours"}
UNDER = {
    "random_under": "RandomUnderSampler",
    "near_miss": "NearMiss",
    "tomek_links": "TomekLinks",
    "edited_nearest_neighbours": "EditedNearestNeighbours",
}
METHODS = (*NEIGHBOURS, *CLEANERS, "random_over", *UNDER)


def resample(
    features: Array,
    target: Array,
    method: str = "smote",
    *,
    k_neighbors: int = 5,
    sampling_strategy: Strategy = "auto",
    categories: Sequence[int] = (),
    seed: int = 0,
) -> tuple[Array, Array]:
    """Feature vectors with rare classes filled up, or common ones cut down.

    SMOTE adds ``f + u (f' - f)``, u uniform in [0, 1), f' one of the k nearest examples of f's class. A class
    with ``n_k <= k`` examples uses ``n_k - 1`` neighbours, one with a single example copies it; either is
    said in a warning. Columns of categories take the commonest value of the neighbours (SMOTE-NC).

    Args:
        features: [N, D], finite; of a network: detached, of training data, to retrain a head on.
        target: class index of each example, [N].
        method: ``"smote"``, ``"borderline_smote"``, ``"svm_smote"``, ``"adasyn"``, ``"smote_tomek"``,
            ``"smote_enn"``, ``"random_over"``, ``"random_under"``, ``"near_miss"``, ``"tomek_links"`` or
            ``"edited_nearest_neighbours"``.
        k_neighbors: k, at least 1.
        sampling_strategy: ``"auto"`` (all classes as large as the largest, or as small as the smallest),
            another word of imbalanced-learn's, the wanted ratio of two classes, or the wanted number of
            examples for some classes.
        categories: columns of features that hold categories, for ``"smote"``, ``"random_over"`` and
            ``"random_under"``.
        seed: fixes what is drawn.

    Returns:
        features [M, D] and target [M]: arrays for arrays, tensors of the same type and device for tensors.

    Raises:
        InputError: an argument does not fit, or the method finds nothing to work on.
        ModuleNotFoundError: imbalanced-learn is missing.

    Source: Chawla et al. 2002 and successors, as imbalanced-learn implements them.

    Example:
        >>> x, y = resample(np.random.rand(12, 2), np.array([0] * 9 + [1] * 3), k_neighbors=2)
        >>> x.shape, np.bincount(y).tolist()
        ((18, 2), [9, 9])
    """
    one_of("method", method, METHODS)
    whole("k_neighbors", k_neighbors, 1)
    x, y = _checked(features, target)
    _check_categories(method, categories, x.shape[1])
    try:
        found = _resampled(x, y, method, k_neighbors, sampling_strategy, seed, categories)
    except (ValueError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"method must suit the data, got {method!r}, which failed ({error}); choose another"
        ) from error
    return _like(features, found[0]), _like(target, found[1])


def _check_categories(method: str, categories: Sequence[int], columns: int) -> None:
    for column in categories:
        if not 0 <= column < columns:
            raise InputError(
                f"categories must be columns of features, 0 ... {columns - 1}, got {column}; correct it"
            )
    if categories and method not in OF_CATEGORIES:
        raise InputError(
            f"method must take columns of categories, got {method!r}, which measures distances between them; "
            f"choose from {', '.join(OF_CATEGORIES)}"
        )
    if method == "smote" and categories and len(set(categories)) == columns:
        raise InputError(
            f"features must have a numeric column for {method!r}, got {columns} columns of categories; use "
            "random_over"
        )


def _resampled(
    x: Floats,
    y: Labels,
    method: str,
    k: int,
    strategy: Strategy,
    seed: int,
    categories: Sequence[int],
) -> tuple[Floats, Labels]:
    if method in UNDER or method == "random_over":
        seeded = {"random_state": seed} if method in ("random_under", "random_over") else {}
        name = UNDER.get(method, "RandomOverSampler")
        return _run(name, x, y, {"sampling_strategy": strategy, **seeded})
    if method not in CLEANERS:
        return _fill(x, y, method, k, strategy, seed, categories)
    filled = _fill(x, y, "smote", k, strategy, seed)
    return _run(CLEANERS[method], *filled, {"sampling_strategy": "all"})


def _fill(
    x: Floats,
    y: Labels,
    method: str,
    k: int,
    strategy: Strategy,
    seed: int,
    categories: Sequence[int] = (),
) -> tuple[Floats, Labels]:
    name, neighbours = ("SMOTENC", "k_neighbors") if categories else NEIGHBOURS[method]
    extra = {"categorical_features": list(categories)} if categories else {}
    parts = [(x, y)]
    # imbalanced-learn has one k for all classes: those too small for it get a call of their own.
    for few, wanted in sorted(_by_neighbours(y, k, strategy).items(), reverse=True):
        options = {"sampling_strategy": wanted, "random_state": seed}
        options |= {neighbours: few, **extra} if few else {}
        filled = _run(name if few else "RandomOverSampler", x, y, options)
        parts.append((filled[0][len(x) :], filled[1][len(y) :]))
    return np.concatenate([part for part, _ in parts]), np.concatenate([part for _, part in parts])


def _by_neighbours(y: Labels, k: int, strategy: Strategy) -> dict[int, dict[int, int]]:
    counts = np.bincount(y)
    missing = _module("imblearn.utils").check_sampling_strategy(strategy, y, "over-sampling")
    groups: dict[int, dict[int, int]] = defaultdict(dict)
    for label, added in missing.items():
        if added:
            groups[min(k, int(counts[label]) - 1)][int(label)] = int(counts[label] + added)
    for few in sorted(set(groups) - {k}):
        how = f"use {few} of {k} neighbours" if few else "are copied: there is no neighbour"
        warn(f"classes {sorted(groups[few])}, of {few + 1} training examples, {how}", stacklevel=5)
    return groups


def _run(name: str, x: Floats, y: Labels, options: Mapping[str, Any]) -> tuple[Floats, Labels]:
    places = [_module(f"imblearn.{part}") for part in ("over_sampling", "under_sampling")]
    maker = next(getattr(place, name) for place in places if hasattr(place, name))
    found: tuple[Floats, Labels] = maker(**options).fit_resample(x, y)
    return found


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "imblearn":
            raise
        raise ModuleNotFoundError(
            "resample needs the package imbalanced-learn, which is not installed; "
            'run pip install "tailgrad[imblearn]"',
            name="imblearn",
        ) from error


def _checked(features: Array, target: Array) -> tuple[Floats, Labels]:
    y: Labels = class_indices(target).numpy()
    if isinstance(features, Tensor):
        wide = torch.promote_types(features.dtype, torch.float32)
        x: Floats = features.detach().cpu().to(wide).numpy()
    else:
        x = np.asarray(features)
    if x.ndim != 2 or len(x) != len(y) or x.dtype.kind not in "fiu":
        raise InputError(
            f"features must be numbers [{len(y)}, D] as target is [{len(y)}], got {x.dtype} {list(x.shape)}; "
            "flatten each example to a row"
        )
    bad = np.argwhere(~np.isfinite(x))
    if len(bad):
        raise InputError(
            f"features must be finite, got {x[tuple(bad[0])]} in row {bad[0][0]}; drop such rows"
        )
    return x, y


def _like(given: Array, values: NDArray[Any]) -> Array:
    if isinstance(given, Tensor):
        return torch.from_numpy(values).to(given)
    return values.astype(np.asarray(given).dtype, copy=False)
