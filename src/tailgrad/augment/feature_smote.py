"""SMOTE on feature vectors: new examples between neighbours of one class."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from tailgrad.checks import InputError, in_range, one_of

_CHUNK = 512


def feature_smote(
    features: Tensor,
    target: Tensor,
    *,
    k: int = 5,
    to: str | Sequence[int] = "largest",
    generator: Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Fill up rare classes with ``f + u (f' - f)``, f' one of f's k nearest of its class, ``u ~ U(0, 1)``.

    f is drawn uniformly from the class and f' uniformly from its neighbours. A class with n <= k examples
    has n - 1 neighbours; a single example is copied. No example is ever dropped.

    Args:
        features: [N, D] floating point; detached first.
        target: class indices [N].
        k: neighbours, at least 1.
        to: wanted examples of each class, or ``"largest"``: as many as the largest class has, in every class
            that has any.
        generator: of random numbers, on the CPU; the global one by default.

    Returns:
        Features [M, D] and targets [M]: the given ones, then the new ones, class by class.

    Raises:
        InputError: shapes or ``k`` do not fit, a label lies outside ``to``, or examples are wanted of a class
            that has none.

    Source: Chawla et al., 2002: on penultimate features, to train the head alone. Neighbours
    are by Euclidean distance, computed for 512 rows at a time.

    Example:
        >>> features = torch.tensor([[0.0], [1.0], [2.0], [8.0], [9.0]])
        >>> found, labels = feature_smote(features, torch.tensor([0, 0, 0, 1, 1]))
        >>> labels.bincount(), bool(8 <= found[-1] <= 9)
        (tensor([3, 3]), True)
    """
    _check(features, target, k)
    features, present = features.detach(), torch.bincount(target).tolist()
    if isinstance(to, str):
        one_of("to", to, ["largest"])
        to = [max(present) if n else 0 for n in present]
    if len(to) < len(present):
        raise InputError(
            f"to must hold one number a class, got {len(to)} for {len(present)} classes; add some"
        )
    new, labels = [features], [target]
    for label, wanted in enumerate(to):
        members = features[target == label]
        missing = int(wanted) - len(members)
        if missing <= 0:
            continue
        if not len(members):
            raise InputError(
                f"to must be 0 for a class without examples, got to[{label}]={wanted}; set it to 0"
            )
        new.append(_between(members, missing, k, generator))
        labels.append(target.new_full((missing,), label))
    return torch.cat(new), torch.cat(labels)


def _between(members: Tensor, missing: int, k: int, generator: Generator | None) -> Tensor:
    n = len(members)
    base = torch.randint(n, (missing,), generator=generator).to(members.device)
    which = torch.randint(max(1, min(k, n - 1)), (missing,), generator=generator).to(members.device)
    share = torch.rand((missing, 1), generator=generator).to(members)
    if n == 1:
        return members[base]
    drawn, place = torch.unique(base, return_inverse=True)
    other = _nearest(members, drawn, min(k, n - 1))[place, which]
    return torch.lerp(members[base], members[other], share)


def _nearest(members: Tensor, rows: Tensor, k: int) -> Tensor:
    """Indices of the k nearest other members of some members, [len(rows), k]."""
    # Distances through a matrix product lose digits far from the origin, so the origin moves to the mean.
    wide = members.to(torch.promote_types(members.dtype, torch.float32))
    centred = wide - wide.mean(0)
    found = []
    for some in torch.split(rows, _CHUNK):
        distance = torch.cdist(centred[some], centred)
        distance[torch.arange(len(some), device=some.device), some] = float("inf")
        found.append(distance.topk(k, largest=False).indices)
    return torch.cat(found)


def _check(features: Tensor, target: Tensor, k: int) -> None:
    in_range("k", k, 1)
    if features.ndim != 2 or not features.is_floating_point():
        raise InputError(
            f"features must be floating point [N, D], got {features.dtype} {list(features.shape)}; pool them"
        )
    if target.shape != features.shape[:1] or target.is_floating_point() or not len(target):
        raise InputError(
            f"target must be one class index each of the {len(features)} features (at least one), got "
            f"{target.dtype} {list(target.shape)}; give indices"
        )
    if int(target.min()) < 0:
        raise InputError(f"target must be at least 0, got {int(target.min())}; check the labels")
