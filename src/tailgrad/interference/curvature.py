"""How sharply the loss of each class bends: the ends of the spectrum of its Hessian."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import nn

from tailgrad.checks import InputError, in_range, nearest
from tailgrad.interference.criterion import Criterion
from tailgrad.interference.gram import Array
from tailgrad.interference.groups import Selection
from tailgrad.interference.held import hold
from tailgrad.interference.hessian import ClassHessian, twice_differentiable
from tailgrad.interference.lanczos import Ends, ends
from tailgrad.interference.network import Network
from tailgrad.interference.source import Order, opened
from tailgrad.interference.storage import plain

_SHOWN = 5  # classes named in a sentence
_ROUNDING = 1e-6  # of the spectrum's size: what float32 products leave of an eigenvalue that is zero


@dataclass(frozen=True, slots=True, eq=False)
class Curvature:
    """Smallest and largest Hessian eigenvalue of each class's mean loss.

    A row is NaN where a class had no example or was left out. Every value is a Rayleigh quotient, so the true
    smallest eigenvalue is at most ``smallest`` and the true largest at least ``largest``.

    Args:
        class_names: K names.
        counts: examples used of each class [K].
        parameters: the parameter group the Hessian is taken over.
        smallest: [K].
        largest: [K].
        smallest_residual: ``|H v - lambda v|`` [K]: some eigenvalue lies within this distance.
        largest_residual: the same for ``largest`` [K].
        notes: what must be said beside the figures, such as classes whose iteration was cut off.

    Example:
        >>> one = np.ones(1)
        >>> Curvature(("cat",), np.ones(1, int), "all", -one, 4 * one, one / 100, one / 100).saddles
        ('cat',)
    """

    class_names: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    parameters: str
    smallest: Array
    largest: Array
    smallest_residual: Array
    largest_residual: Array
    notes: tuple[str, ...] = ()

    @property
    def saddles(self) -> tuple[str, ...]:
        """Classes whose smallest eigenvalue is negative beyond its residual and rounding, lowest first."""
        return tuple(self.class_names[k] for k in self._saddle_rows())

    def _saddle_rows(self) -> list[int]:
        size = np.maximum(np.abs(self.smallest), np.abs(self.largest))
        below = self.smallest + self.smallest_residual < -_ROUNDING * size
        return [int(k) for k in np.argsort(self.smallest) if below[k]]

    def summary(self) -> str:
        """A few plain sentences: the class that bends most, the classes at a saddle, and the notes."""
        seen = np.flatnonzero(~np.isnan(self.largest))
        top = seen[np.argmax(self.largest[seen])]
        bend = (
            f"Over {self.parameters!r}, the loss of {self.class_names[top]!r} bends most (largest Hessian "
            f"eigenvalue {self.largest[top]:.3g} +- {self.largest_residual[top]:.1g}, median of {len(seen)} "
            f"classes {np.median(self.largest[seen]):.3g})."
        )
        return " ".join([bend, self._saddle_sentence(), *self.notes])

    def _saddle_sentence(self) -> str:
        rows = self._saddle_rows()
        if not rows:
            return "No class has negative curvature beyond the error of the estimate."
        figures = [
            f"{self.class_names[k]} {self.smallest[k]:.3g} +- {self.smallest_residual[k]:.1g}" for k in rows
        ]
        more = ", ..." if len(rows) > _SHOWN else ""
        return (
            f"{len(rows)} of {np.count_nonzero(self.counts)} classes have negative curvature "
            f"({', '.join(figures[:_SHOWN])}{more}): at the end of training such a class sits at a saddle."
        )

    def to_dict(self) -> dict[str, object]:
        """Everything as JSON-ready lists, numbers and names; NaN becomes None."""
        return dict(plain(self) | {"saddles": list(self.saddles)})


def curvature(
    model: nn.Module | Network,
    data: object,
    parameters: Selection = "all",
    *,
    criterion: Criterion | None = None,
    classes: Sequence[int | str] | None = None,
    max_per_class: int | None = 128,
    class_names: Sequence[str] | None = None,
    seed: int = 0,
) -> Curvature:
    """The ends of the spectrum of ``H_c = (1/n_c) sum_{i: y_i=c} d2 loss_i / d theta2`` for every class c.

    Lanczos iteration on exact products ``H_c v`` (a second backward pass), in evaluation mode, without class
    weights or weight decay. A class takes 30 to 60 products, about 80 times a forward and backward pass over
    its examples, and more where an end is not isolated. The data are read once and held. The model comes back
    as it was, as from ``measure``. Memory beside the network's: 20 vectors of the length of the parameters in
    float64.

    Args:
        model: any twice differentiable module that returns logits [N, K]; ``Network(model, forward)`` where
            it needs a call of its own.
        data: a map-style data set or an iterable of (inputs, target) batches.
        parameters: ``"all"``, ``"backbone"``, ``"head"``, a glob over names, or ``predicate(name, p)``.
        criterion: ``criterion(logits [n, K], target [n]) -> [n]``; unweighted cross-entropy by default.
        classes: indices or names of the classes to measure; all by default.
        max_per_class: at most this many examples a class, at least 1: drawn at random from a data set, else
            the first. None takes all; they must fit into 4 GiB.
        class_names: K names; ``data.classes`` or the class indices by default.
        seed: draws the start vector, and the examples of a data set.

    Raises:
        InputError: bad data, labels or selection; no example of any class asked for; a loss or a second
            derivative that is not finite; a model without second derivatives.

    Source: per-class spectra as in "Escaping Saddle Points for Effective Generalization on Class-Imbalanced
    Data" (Rangwani et al., 2022); the error bars are ours.

    Example:
        >>> import torch
        >>> data = [(torch.eye(3), torch.arange(3))]
        >>> with torch.no_grad():
        ...     model = nn.Linear(3, 3, bias=False).requires_grad_(False)
        ...     _ = model.weight.zero_()
        >>> curvature(model, data).largest.round(4)  # softmax at zero weights: |x|^2 / K
        array([0.3333, 0.3333, 0.3333])
    """
    in_range("max_per_class", 1 if max_per_class is None else max_per_class, 1)
    network = model if isinstance(model, Network) else Network(model)
    order = Order(max_per_class=max_per_class, seed=seed)
    found: dict[int, tuple[int, Ends]] = {}
    with opened(network, data, parameters, criterion, class_names, order) as source:
        names = source.class_names
        held = hold(source.stream, _asked(classes, names), names, max_per_class)
        chosen = [network.parameters[name] for name in source.groups.members()]
        with twice_differentiable(network.device):
            for label in sorted(held):
                hessian = ClassHessian(network.run, chosen, source.criterion, label, held.pop(label))
                found[label] = hessian.count, ends(hessian, hessian.size, seed)
    return _collected(names, source.groups.primary, found, network.notes)


def _asked(classes: Sequence[int | str] | None, names: tuple[str, ...]) -> set[int]:
    if classes is None:
        return set(range(len(names)))
    if len(classes) == 0:
        raise InputError(f"classes must hold at least one class, got {classes!r}; None takes all")
    return {_index(label, names) for label in classes}


def _index(label: object, names: tuple[str, ...]) -> int:
    if label in names:
        return names.index(str(label))
    if isinstance(label, int | np.integer) and 0 <= label < len(names):
        return int(label)
    raise InputError(
        f"classes must be class names or indices 0 to {len(names) - 1}, got {label!r}; "
        f"{nearest(str(label), names)}"
    )


def _collected(
    names: tuple[str, ...], group: str, found: dict[int, tuple[int, Ends]], notes: tuple[str, ...]
) -> Curvature:
    counts, figures = np.zeros(len(names), np.int64), np.full((4, len(names)), np.nan)
    for label, (count, both) in found.items():
        counts[label] = count
        figures[:, label] = *both.values, *both.residuals
    cut_off = [names[label] for label, (_, both) in found.items() if not both.converged]
    if cut_off:
        notes = (*notes, f"The iteration was cut off for {', '.join(cut_off)}: read the residuals.")
    low, high, low_error, high_error = figures
    return Curvature(names, counts, group, low, high, low_error, high_error, notes)
