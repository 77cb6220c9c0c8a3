"""Where gradients by segment are added up: class means, exact or sketched, and sketches of the folds."""

from collections.abc import Mapping

import torch
from torch import Tensor

from tailgrad.interference.packs import Pack
from tailgrad.interference.sketch import Sketcher

_SMALL = 4096  # rows up to this length are added by one product


class Sums:
    """Gradient sums of K classes, and of the folds of each.

    Args:
        parameters: name -> parameter, those that are measured.
        num_classes: K.
        sketchers: name of a piece (a layer or a group) -> its sketcher; empty keeps exact rows.
        folds: number of folds m, 1 for none.
        fold_sketcher: sketcher of the parameters whose folds are kept.

    Example:
        >>> sums = Sums({"w": torch.zeros(2)}, 2, {})
        >>> sums.begin(Pack(torch.zeros(3, 2), [0, 2, 3], [1, 1], [0, 0]))
        >>> sums.receive("w", 0, torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        >>> sums.rows["w"].tolist()
        [[0.0, 0.0], [4.0, 6.0]]
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        num_classes: int,
        sketchers: Mapping[str, Sketcher],
        folds: int = 1,
        fold_sketcher: Sketcher | None = None,
    ) -> None:
        first = next(iter(parameters.values()))
        self.rows: dict[str, Tensor] = {}
        if not sketchers:
            self.rows = {
                name: torch.zeros(num_classes, p.numel(), dtype=p.dtype, device=p.device)
                for name, p in parameters.items()
            }
        self.sketchers = dict(sketchers)
        zeros = first.new_zeros
        self.pieces = {piece: zeros(num_classes, s.size) for piece, s in sketchers.items()}
        self.fold_sketcher = fold_sketcher
        self.folds = zeros(num_classes * folds, fold_sketcher.size) if fold_sketcher else None
        self.fold_counts = torch.zeros(num_classes * folds, dtype=torch.int64)
        self.measured = tuple(parameters)
        self.reached: set[str] = set()
        self._number = folds

    def begin(self, pack: Pack) -> None:
        """The gradients that follow are those of this pack's segments."""
        self._labels = torch.tensor(pack.labels)
        self._places = self._labels * self._number + torch.tensor(pack.folds)
        self.fold_counts.index_add_(0, self._places, pack.sizes())

    def receive(self, name: str, first: int, stack: Tensor) -> None:
        """Add the gradients [S', numel] of segments ``first`` and on."""
        self.reached.add(name)
        part = slice(first, first + len(stack))
        if name in self.rows:
            _add(self.rows[name], self._labels[part], stack)
        for piece, sketcher in self.sketchers.items():
            if name in sketcher:
                _add(self.pieces[piece], self._labels[part], sketcher.of(name, stack.to(self.pieces[piece])))
        if self.folds is not None and self.fold_sketcher is not None and name in self.fold_sketcher:
            _add(self.folds, self._places[part], self.fold_sketcher.of(name, stack.to(self.folds)))


def _add(totals: Tensor, places: Tensor, stack: Tensor) -> None:
    stack = stack.to(totals.dtype)
    if len(places) == 1:
        totals[int(places[0])] += stack[0]
        return
    if stack.shape[1] > _SMALL:
        totals.index_add_(0, places.to(totals.device), stack)
        return
    kinds, owner = torch.unique(places, return_inverse=True)  # on the CPU, which need not wait
    one_hot = torch.zeros(len(kinds), len(places), dtype=stack.dtype)
    one_hot[owner, torch.arange(len(places))] = 1
    totals[kinds.to(totals.device)] += one_hot.to(stack.device) @ stack
