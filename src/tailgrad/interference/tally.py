"""Contributions of classes to the gradient behind one update, added up while backward passes run."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tailgrad.distributed import is_spread, sum_over_ranks
from tailgrad.interference.gram import Array
from tailgrad.interference.sketch import Sketcher

_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}
_ROUNDING = 1e-6
_JOINT = ""  # the one row where parameters are sketched together


class Tally:
    """Rows [m, numel] of each parameter, or their joint sketch; micro-batches may hold different classes.

    Args:
        parameters: those measured, by name.
        sketcher: None keeps the rows exact.
        unverified: parameters whose rows are to be compared with their gradient.

    Example:
        >>> weight = torch.zeros(2)
        >>> tally = Tally({"weight": weight}, None, {"weight"})
        >>> tally.open([4, 7])
        >>> tally.add("weight", 0, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> tally.whole("weight", torch.tensor([1.0, 1.0]))
        >>> tally.wrong(), tally.products({"weight": torch.tensor([2.0, 0.0])})[1]
        ([], array([2., 0.]))
    """

    def __init__(
        self, parameters: Mapping[str, Tensor], sketcher: Sketcher | None, unverified: set[str]
    ) -> None:
        self.classes: list[int] = []
        self.rows: dict[str, Tensor] = {}
        self.parameters, self._sketcher = dict(parameters), sketcher
        # of each unverified parameter: the sum over classes, the gradient, the sum of the norms
        self._sums = {name: _zeros(p) for name, p in parameters.items() if name in unverified}
        self._wholes = {name: torch.zeros_like(s) for name, s in self._sums.items()}
        self._sizes = dict.fromkeys(self._sums, 0.0)
        self._places: list[int] = []
        self.is_half = False

    def open(self, classes: Sequence[int]) -> None:
        """The next rows belong to these classes."""
        new = [c for c in classes if c not in self.classes]
        self.classes += new
        for name, rows in self.rows.items():
            self.rows[name] = torch.cat([rows, rows.new_zeros(len(new), rows.shape[1])])
        self._places = [self.classes.index(c) for c in classes]

    def add(self, name: str, first: int, stack: Tensor) -> None:
        """Add rows [n, numel] of the open classes from ``first`` on."""
        if name in self._sums:
            self._sums[name] += stack.sum(0)
            self._sizes[name] += float(stack.norm(dim=1).sum())
        key, rows = name, stack
        if self._sketcher is not None:
            key, rows = _JOINT, self._sketcher.of(name, stack)
        places = self._places[first : first + len(stack)]
        if key not in self.rows:
            if places == list(range(len(self.classes))):
                self.rows[key] = rows
                return
            self.rows[key] = rows.new_zeros(len(self.classes), rows.shape[1])
        self.rows[key].index_add_(0, torch.tensor(places, device=rows.device), rows)

    def whole(self, name: str, gradient: Tensor) -> None:
        """Add what autograd computed for an unverified parameter; one verified before is left alone."""
        if name in self._wholes:
            self._wholes[name] += gradient.detach().flatten()

    @property
    def checked(self) -> set[str]:
        """Parameters that `wrong` looks at."""
        return set(self._sums)

    def wrong(self) -> list[str]:
        """Unverified parameters whose rows do not add up to their gradient."""
        norms = {name: float(whole.norm()) for name, whole in self._wholes.items()}
        floor = _ROUNDING * max(norms.values(), default=0.0)
        return [
            name
            for name, norm in norms.items()
            if float((self._sums[name] - self._wholes[name]).norm())
            > self._tolerance(name) * max(norm, self._sizes[name]) + floor
        ]

    def _tolerance(self, name: str) -> float:
        # under autocast parameters and their gradients are in single precision, and what is between is not
        return 3e-2 if self.is_half else _TOLERANCE.get(self.parameters[name].dtype, 3e-2)

    def products(self, update: Mapping[str, Tensor]) -> tuple[Array, Array]:
        """Gram [m, m] of the contributions, and their inner products [m] with an update."""
        gram = torch.zeros(len(self.classes), len(self.classes), dtype=torch.float64)
        dot = torch.zeros(len(self.classes), dtype=torch.float64)
        for key, rows in self.rows.items():
            vector = self._sketch_of(update) if key == _JOINT else update[key].flatten()
            gram += (rows @ rows.T).cpu().double()
            dot += (rows @ vector.to(rows.dtype)).cpu().double()
        return (gram + gram.T).numpy() / 2, dot.numpy()

    def _sketch_of(self, update: Mapping[str, Tensor]) -> Tensor:
        assert self._sketcher is not None
        return torch.stack(
            [self._sketcher.of(name, update[name].float().view(1, -1))[0] for name in self.parameters]
        ).sum(0)

    def merge(self, num_classes: int) -> None:
        """Average over ranks, as data-parallel training averages gradients; nothing on one process."""
        if not is_spread():
            return
        world = torch.distributed.get_world_size()
        sizes = {n: p.numel() for n, p in self.parameters.items()}
        if self._sketcher is not None:
            sizes = {_JOINT: self._sketcher.size}
        for key, size in sizes.items():
            whole = _zeros(next(iter(self.parameters.values()))).new_zeros(num_classes, size)
            if key in self.rows:
                whole[self.classes] = self.rows[key].to(whole.dtype)
            self.rows[key] = sum_over_ranks(whole) / world
        self.classes = list(range(num_classes))


def _zeros(parameter: Tensor) -> Tensor:
    dtype = torch.promote_types(parameter.dtype, torch.float32)
    return torch.zeros(parameter.numel(), dtype=dtype, device=parameter.device)
