"""The conflict there would be if features carried no information about the class."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tailgrad.interference.backward import Backward
from tailgrad.interference.gradients import Folds
from tailgrad.interference.gram import Array, cosines, gram
from tailgrad.interference.observer import Seen
from tailgrad.interference.packs import Pack, chunk_length
from tailgrad.interference.progress import Tell, silent
from tailgrad.interference.room import MAX_MATRIX
from tailgrad.interference.source import Source
from tailgrad.interference.sums import Sums
from tailgrad.interference.totals import fold_means, make_sums
from tailgrad.interference.trees import Tree, cut, join, length, map_leaves

_PARTS = 4  # folds of the pool, for the null's own error
_CLASSES = 512  # classes of which the pool keeps examples
_LEAST = 16  # pooled examples
_CHEAP = 4096  # examples differentiated whatever the size of the data


class Reservoir:
    """An observer that keeps up to ``size`` inputs a class, each example of a class equally likely.

    Source: Vitter (1985), algorithm R.

    Example:
        >>> pool = Reservoir(size=2, seed=0)
        >>> pool(Seen(0, torch.arange(10.0), None))
        >>> len(pool.kept[0])
        2
    """

    def __init__(self, size: int, seed: int) -> None:
        self.kept: dict[int, list[Tree]] = {}
        self.seen = 0
        self._size = size
        self._offered: dict[int, int] = {}
        self._seed, self._random = seed, np.random.default_rng(seed)
        self._draws: dict[int, np.random.Generator] = {}

    def __call__(self, seen: Seen) -> None:
        """Offer examples of one class to the sample."""
        self.seen += length(seen.inputs)
        if seen.label not in self.kept and len(self.kept) >= _CLASSES:
            return
        kept = self.kept.setdefault(seen.label, [])
        # one generator a class, so that the sample does not depend on how classes are packed
        draws = self._draws.setdefault(seen.label, np.random.default_rng([self._seed, seen.label]))
        for i in range(length(seen.inputs)):
            offered = self._offered[seen.label] = self._offered.get(seen.label, 0) + 1
            place = offered - 1 if offered <= self._size else int(draws.integers(offered))
            if place < self._size:  # copied, since a view would keep its whole batch alive
                kept[place : place + 1] = [map_leaves(torch.clone, cut(seen.inputs, i, i + 1))]

    def balanced(self, most: int) -> tuple[list[Tree], Tensor]:
        """Up to ``most`` pooled examples, class by class in turn, and weights [n] that make classes equal."""
        order = self._random.permutation(sorted(self.kept)).tolist()
        rounds = max(map(len, self.kept.values()))
        places = [(label, i) for i in range(rounds) for label in order if i < len(self.kept[label])][:most]
        taken = {label: sum(1 for other, _ in places if other == label) for label in order}
        classes = sum(1 for n in taken.values() if n)
        weights = torch.tensor([1 / (classes * taken[label]) for label, _ in places], dtype=torch.float64)
        return [self.kept[label][i] for label, i in places], weights


@dataclass(frozen=True, slots=True)
class Null:
    """Inner products of the null gradients.

    ``g0_c = grad_theta <R_c, zbar>``, with ``R_c`` the mean logit gradient of class c (``mean(p_i - e_c)``
    for cross-entropy) and ``zbar`` the mean logits over a pooled, class-balanced sample: softmax competition
    and the class prior act as they did, while every class sends the same features. They are linear in R:
    ``g0 = M J`` with a small matrix M [K, d] and d vector-Jacobian products J.

    Args:
        mixing: M [K, d].
        products: parameters -> ``J J'`` [d, d] over them.
        folds: the rows of J from each part of the pool, or None.
        head: of a linear head whose input was differentiated: parameter -> Gram [K, K].
        is_cheap: the cheap form, cosines of R (or of R times a linear head's weights), taken where measuring
            would cost more than the pass itself.

    Example:
        >>> Null(np.eye(2), {("w",): np.eye(2)}, None, {}).gram(["w"])
        array([[1., 0.],
               [0., 1.]])
    """

    mixing: Array
    products: dict[tuple[str, ...], Array]
    folds: Folds | None
    head: dict[str, Array]
    is_cheap: bool = False

    def gram(self, names: list[str]) -> Array:
        """Gram [K, K] over parameters (or pieces)."""
        inner = [product for members, product in self.products.items() if set(members) <= set(names)]
        total = np.zeros((len(self.mixing), len(self.mixing)))
        if inner:
            total = self.mixing @ np.sum(inner, axis=0) @ self.mixing.T
        for name in names:
            total = total + self.head.get(name, 0.0)
        return total

    def vectors(self, names: list[str]) -> Array:
        """Rows [K, d] whose inner products are the Gram over parameters, without their [K, K] matrix."""
        inner = [product for members, product in self.products.items() if set(members) <= set(names)]
        total = np.sum(inner, axis=0) if inner else np.zeros((self.mixing.shape[1],) * 2)
        values, axes = np.linalg.eigh(total)
        rows: Array = self.mixing @ (axes * np.sqrt(np.maximum(values, 0)))
        return rows

    def error(self, names: Sequence[str] = ()) -> Array | None:
        """Standard error [K, K] of the primary group's null cosines, by leaving out parts of the pool.

        Args:
            names: parameters of the primary group; those of a narrow head, whose cosines do not depend on the
                pool, are added as they are.
        """
        if self.folds is None or (self.folds.weights[0] > 0).sum() < 2:
            return None
        weights = torch.from_numpy(self.folds.weights[0])
        rows = self.folds.sketches.double()
        whole = torch.einsum("f,dfs->ds", weights, rows)
        used = [f for f in range(len(weights)) if weights[f] > 0]
        head = sum((self.head[name] for name in names if name in self.head), np.zeros(()))
        left = []
        for f in used:
            rest = (whole - weights[f] * rows[:, f]) / (1 - weights[f])
            left.append(cosines(self.mixing @ gram(rest) @ self.mixing.T + head))
        spread = np.stack(left) - np.mean(left, axis=0)
        result: Array = np.sqrt((len(used) - 1) / len(used) * (spread**2).sum(0))
        return result


def measure_null(
    source: Source,
    names: list[str],
    pool: Reservoir,
    logits: Array,
    most: int | None = None,
    tell: Tell = silent,
) -> Null:
    """Measure the null gradients on a pooled sample.

    Where the network ends in a linear layer narrower than K, its input is differentiated instead of the
    logits: D vector-Jacobian products in place of K, and the layer itself in closed form.

    Args:
        source: the network, in evaluation mode, with its groups.
        names: parameters.
        pool: the pooled sample.
        logits: R [K, K]; a zero row (a class without an example) gives a zero null gradient. Above 2,000
            classes already mixed, as ``ClassGradients.logits`` is.
        most: pooled examples; by default as many as cost a tenth of the pass, 16 to 160.
        tell: told how many of the products are done.

    Example: see ``measure``.
    """
    cut_at, many = source.head, len(source.class_names) > MAX_MATRIX
    mixing = logits
    if cut_at is not None and not many:
        mixing = logits @ cut_at.weight.detach().cpu().double().numpy()
    inside = _before(source, cut_at, names)
    width = mixing.shape[1]
    if width * _LEAST > max(_CHEAP, pool.seen // 2) or (many and cut_at is None):
        return Null(mixing, {(name,): np.eye(width) for name in names}, None, {}, is_cheap=True)
    examples, weights = pool.balanced(most or min(160, max(_LEAST, pool.seen // (10 * width))))
    run = _Run(source, cut_at, examples, weights)
    if not inside:
        return Null(mixing, {}, None, {} if many else run.head(logits, names))
    sums = make_sums(source, inside, rows=width, folds=_PARTS if len(examples) >= _PARTS else 0)
    backward = Backward(source.network, inside, sums.receive, run.forward, is_one_input=True)
    for pack in run.packs(width):
        sums.begin(pack)
        backward.run(pack, run.cotangent(pack))
        tell("null", pack.labels[-1] + 1, width)
    folds = _fold_means(sums, width, run.shares) if sums.folds is not None else None
    return Null(mixing, _products(sums), folds, {} if many else run.head(logits, names))


def _products(sums: Sums) -> dict[tuple[str, ...], Array]:
    """Gram of the products over each parameter, or each piece that is sketched as one."""
    found: dict[tuple[str, ...], Array] = {(name,): gram(rows) for name, rows in sums.rows.items()}
    return found | {sums.sketchers[piece].names: gram(rows) for piece, rows in sums.pieces.items()}


def _before(source: Source, head: nn.Linear | None, names: list[str]) -> list[str]:
    """Parameters that are not the head's own."""
    own = set() if head is None else {id(p) for p in head.parameters()}
    return [name for name in names if id(source.network.parameters[name]) not in own]


def _fold_means(sums: Sums, rows: int, shares: Tensor) -> Folds:
    """The parts' own means: their sums hold each part's share of the whole."""
    found = fold_means(sums, rows)
    counts = sums.fold_counts.view(rows, -1).clamp(min=1)
    scale = (counts / shares.clamp(min=1e-30)).to(found.sketches)
    return Folds(
        np.broadcast_to(shares.numpy(), counts.shape).copy(),
        found.sketches * scale[..., None],
        found.is_exact,
    )


class _Run:
    def __init__(self, source: Source, head: nn.Linear | None, examples: list[Tree], weights: Tensor) -> None:
        self._source, self._head = source, head
        parts = min(_PARTS, len(examples)) if len(examples) >= _PARTS else 1
        order = sorted(range(len(examples)), key=lambda i: i % parts)
        self._inputs = join([examples[i] for i in order])
        self._weights = weights[order]
        sizes = [len(range(q, len(examples), parts)) for q in range(parts)]
        self._bounds = np.cumsum([0, *sizes]).tolist()
        self.shares = torch.stack([w.sum() for w in torch.split(self._weights, sizes)])

    def packs(self, width: int) -> Iterator[Pack]:
        """The pool once for each cotangent, as many copies in a pack as fit."""
        n = len(self._weights)
        copies = max(1, chunk_length(self._inputs) // n)
        for first in range(0, width, copies):
            rows = range(first, min(width, first + copies))
            bounds = [0] + [k * n + b for k in range(len(rows)) for b in self._bounds[1:]]
            parts = len(self._bounds) - 1
            yield Pack(
                join([self._inputs] * len(rows)),
                bounds,
                [row for row in rows for _ in range(parts)],
                list(range(parts)) * len(rows),
            )

    def cotangent(self, pack: Pack) -> Callable[[Tensor, int, int], Tensor]:
        target, weights = pack.target(), self._weights.repeat(len(pack) // len(self._weights))

        def one_hot(out: Tensor, low: int, high: int) -> Tensor:
            result = torch.zeros_like(out)
            result[torch.arange(high - low), target[low:high]] = weights[low:high].to(out)
            return result

        return one_hot

    def forward(self, inputs: Tree) -> tuple[Tensor, Tensor | None]:
        if self._head is None:
            return self._source.network.run(inputs)
        entered: list[Tensor] = []
        handle = self._head.register_forward_pre_hook(lambda _, args: entered.append(args[0]))
        try:
            self._source.network.run(inputs)
        finally:
            handle.remove()
        return entered[0], None

    def head(self, logits: Array, names: list[str]) -> dict[str, Array]:
        """Grams of the linear head's own null gradients: ``R_c (x) hbar`` and ``R_c``."""
        if self._head is None:
            return {}
        products = logits @ logits.T
        with torch.no_grad():
            size = chunk_length(self._inputs)
            places = range(0, len(self._weights), size)
            entering = torch.cat([self.forward(cut(self._inputs, i, i + size))[0] for i in places])
        mean = self._weights @ entering.cpu().double()
        scale = {id(self._head.weight): float(mean @ mean), id(self._head.bias): 1.0}
        return {
            name: products * scale[id(p)]
            for name, p in self._source.network.parameters.items()
            if name in names and id(p) in scale
        }
