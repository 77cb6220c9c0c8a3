"""Class gradients and what is asked of them: inner products, norms, products with a direction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tailgrad.checks import InputError
from tailgrad.interference.contributions import LogitPull
from tailgrad.interference.gram import Array, gram, inner
from tailgrad.interference.groups import Groups
from tailgrad.interference.room import MAX_MATRIX
from tailgrad.interference.sketch import Sketcher


@dataclass(frozen=True, slots=True)
class Folds:
    """Mean gradients of disjoint folds of each class, as sketches.

    Args:
        weights: share of the class's examples in each fold [K, m]; rows sum to 1, 0 is an unused fold.
        sketches: [K, m, s]; the mean gradient of fold f of class c, sketched (exact if it fits into s).
        is_exact: whether the sketches are the gradients themselves.

    Example:
        >>> Folds(np.array([[0.5, 0.5]]), torch.tensor([[[3.0], [1.0]]]), True).squares
        array([[9., 1.]])
    """

    weights: Array
    sketches: Tensor
    is_exact: bool

    @property
    def squares(self) -> Array:
        """Squared norm of each fold's mean gradient [K, m]."""
        result: Array = self.sketches.double().square().sum(2).cpu().numpy()
        return result


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ClassGradients:
    """Mean gradients of K classes, over the parameters that were asked for.

    ``g_c = (1/n_c) sum_{i: y_i = c} grad_theta loss_i``. Rows of classes without an example are zero; norms
    and cosines make NaN of them.

    Args:
        class_names: K names.
        counts: examples of each class [K].
        loss: mean loss of each class [K], NaN without an example.
        groups: names of the parameters in each group, block and layer.
        rows: parameter name -> [K, numel]; empty if sketched.
        sketches: piece (a set of parameters) -> [K, s]; empty if exact.
        sketchers: the maps that made the sketches.
        folds: fold gradients of the primary group, or None.
        logits: mean gradient of the loss with respect to the logits [K, K] (row: class); above 2,000 classes
            times the weights of a narrow last layer, or random signs, [K, d].
        pull: summed ``|dL/dz_c|`` that examples of class c, and those of other classes, bring to logit c.
        unreached: parameters that no loss reaches.
        notes: what the reader must be told.

    Example:
        >>> from tailgrad.interference import class_gradients
        >>> data = [(torch.eye(2), torch.tensor([0, 1]))]
        >>> gradients = class_gradients(torch.nn.Linear(2, 2), data, parameters="all")
        >>> gradients.counts, gradients.gram().shape
        (array([1, 1]), (2, 2))
    """

    class_names: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    loss: Array
    groups: Groups
    rows: dict[str, Tensor]
    sketches: dict[str, Tensor]
    sketchers: dict[str, Sketcher]
    folds: Folds | None
    logits: Array
    pull: LogitPull
    unreached: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def sketch(self) -> int | None:
        """Numbers kept of each gradient, or None where they are exact."""
        return max((s.size for s in self.sketchers.values() if not s.is_exact), default=None)

    def __repr__(self) -> str:
        kind = "exact" if self.sketch is None else f"sketched to {self.sketch}"
        return f"ClassGradients({len(self.class_names)} classes, {self.groups.primary!r}, {kind})"

    def gram(self, group: str | None = None) -> Array:
        """Inner products of the class gradients over a group [K, K], in float64.

        Args:
            group: name of a group, block or layer; the primary group by default.

        Raises:
            InputError: above 2,000 classes, where ``block`` serves parts of the matrix.

        Example: see the class.
        """
        if len(self.class_names) > MAX_MATRIX:
            raise InputError(
                f"gram must stay within {MAX_MATRIX} classes, got {len(self.class_names)}; ask for "
                ".block(rows, columns)"
            )
        total: Array = np.sum([gram(part) for part in self.parts(group)], axis=0)
        return total

    def block(self, rows: Sequence[int], columns: Sequence[int], group: str | None = None) -> Array:
        """Inner products of some class gradients with others, [len(rows), len(columns)].

        Example:
            >>> from tailgrad.interference import class_gradients
            >>> data = [(torch.eye(2), torch.tensor([0, 1]))]
            >>> class_gradients(torch.nn.Linear(2, 2), data, parameters="all").block([0], [0, 1]).shape
            (1, 2)
        """
        parts = self.parts(group)
        total: Array = np.sum([inner(part[list(rows)], part[list(columns)]) for part in parts], axis=0)
        return total

    def norms(self, group: str | None = None) -> Array:
        """Length of each class gradient [K]; NaN without an example."""
        squares = sum(part.double().square().sum(1) for part in self.parts(group))
        return np.where(self.counts > 0, np.sqrt(torch.as_tensor(squares).cpu().numpy()), np.nan)

    def dot(self, vector: Mapping[str, Tensor], group: str | None = None) -> Array:
        """Inner product of every class gradient with a vector in parameter space [K].

        Args:
            vector: parameter name -> tensor of the parameter's shape; names outside the group are ignored.
            group: as in ``gram``.
        """
        names = self.groups.members(group)
        if self.rows:
            found = [self.rows[name].double() @ _flat(vector, name, self.rows[name]) for name in names]
        else:
            found = [self._sketched_dot(piece, vector) for piece in self._pieces(group)]
        return np.asarray(torch.stack(found).sum(0).cpu().numpy())

    def parts(self, group: str | None = None) -> list[Tensor]:
        """What the group's gradients are made of: [K, numel] by parameter, or [K, s] by piece."""
        if self.rows:
            return [self.rows[name] for name in self.groups.members(group)]
        return [self.sketches[piece] for piece in self._pieces(group)]

    def _pieces(self, group: str | None) -> list[str]:
        names = self.groups.members(group)
        pieces = [piece for piece, s in self.sketchers.items() if any(name in s for name in names)]
        if sum(len(self.sketchers[piece]) for piece in pieces) != len(names):
            raise InputError(
                f"group must be one that the sketch keeps apart, got {group!r}; choose from "
                f"{', '.join(self.groups.groups)}, or measure with sketch=0"
            )
        return pieces

    def _sketched_dot(self, piece: str, vector: Mapping[str, Tensor]) -> Tensor:
        rows, sketcher = self.sketches[piece], self.sketchers[piece]
        flat = [sketcher.of(name, _flat(vector, name, rows)[None]) for name in sketcher.names]
        return rows.double() @ torch.cat(flat).sum(0)


def _flat(vector: Mapping[str, Tensor], name: str, like: Tensor) -> Tensor:
    return vector[name].detach().to(like.device, torch.float64).flatten()
