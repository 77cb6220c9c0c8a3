"""The correction ledger: which class prior remains after everything that corrects it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailgrad.checks import InputError, one_of
from tailgrad.types import Correction

Floats = NDArray[np.float64]
# Which way each kind moves the log-prior.
_SIGNS = {"sampling": 1, "weight": 1, "train_shift": -1, "test_shift": -1, "listed": 0}
_LIMIT = 0.3
_NEGLIGIBLE = 0.1
_SHOWN = 5
_NAME = 14  # a line stays within 80 columns


@dataclass(frozen=True, eq=False, slots=True)
class Ledger:
    """The corrections of a run and the class prior that they leave in the final logits.

    ``prior_k`` is proportional to ``q_k w_k exp(-s_k - t_k)``. Classes without a training example are left
    out of the arithmetic: their prior is 0. Made by ``ledger``.

    Args:
        class_names: K names.
        class_counts: training examples of each class [K].
        entries: what corrects, by name.
        sampled_prior: the prior q that training examples are drawn with [K].
        weights: the product w of the loss weights [K].
        train_shift: the sum s of shifts added to logits in training only [K].
        test_shift: the sum t of shifts subtracted from logits after training [K].
        prior: the effective prior [K].

    Source: population optimum of (weighted) cross-entropy on shifted logits; derived here, checked against
    fitted logistic regressions.

    Example:
        >>> made = ledger([("loss", Correction("weight", (0.0, math.log(9))))], [90, 10])
        >>> made.prior.round(3).tolist(), made.over_corrected, made.listed
        ([0.5, 0.5], False, ())
    """

    class_names: tuple[str, ...]
    class_counts: tuple[int, ...]
    entries: dict[str, Correction]
    sampled_prior: Floats
    weights: Floats
    train_shift: Floats
    test_shift: Floats
    prior: Floats

    @property
    def listed(self) -> tuple[str, ...]:
        """Names of the components that are listed without a number."""
        return tuple(name for name, c in self.entries.items() if c.kind == "listed")

    @property
    def target(self) -> Floats:
        """The prior that a full correction ends at: uniform over the classes that have examples [K]."""
        counted = np.array(self.class_counts) > 0
        return np.asarray(counted / counted.sum())

    @property
    def log_imbalance(self) -> float:
        """Logarithm of the imbalance factor, largest over smallest count above 0."""
        return float(np.ptp(_logs(self.class_counts)))

    @property
    def span(self) -> float:
        """Largest less smallest logarithm of the effective prior."""
        return float(np.ptp(_logs(self.prior)))

    @property
    def correlation(self) -> float:
        """Correlation of the effective with the data's log-prior; NaN where one of them is constant."""
        if min(self.span, self.log_imbalance) < 1e-9:
            return math.nan
        return float(np.corrcoef(_logs(self.prior), _logs(self.class_counts))[0, 1])

    @property
    def over_corrected(self) -> bool:
        """Whether rare classes end up clearly favoured.

        The effective log-prior falls where the data's rises, and spans more than 0.3 of the log imbalance
        factor (and more than 0.1, a factor of 1.1, where classes are nearly balanced).
        """
        return self.correlation < 0 and self.span > max(_LIMIT * self.log_imbalance, _NEGLIGIBLE)

    def lift(self, name: str) -> Floats:
        """By how much a component raises the log-prior of each class [K], up to a constant."""
        return _lift(self.entries[name], np.array(self.class_counts) > 0)

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary that JSON can hold."""
        entries = self.entries.items()
        return {
            "class_names": list(self.class_names),
            "class_counts": list(self.class_counts),
            "components": [{"name": n, "kind": c.kind, "lift": self.lift(n).tolist()} for n, c in entries],
            "sampled_prior": self.sampled_prior.tolist(),
            "weights": self.weights.tolist(),
            "train_shift": (self.train_shift + 0.0).tolist(),
            "test_shift": (self.test_shift + 0.0).tolist(),
            "prior": self.prior.tolist(),
            "span": self.span,
            "log_imbalance": self.log_imbalance,
            "correlation": None if math.isnan(self.correlation) else self.correlation,
            "over_corrected": self.over_corrected,
        }

    def text(self) -> str:
        """The arithmetic as a table: components, the most frequent and rarest classes, the verdict."""
        return "\n".join([*_component_lines(self), *_class_lines(self), _verdict(self)])

    def __str__(self) -> str:
        return self.text()


def ledger(
    components: Sequence[object] | object,
    class_counts: Sequence[int],
    *,
    class_names: Sequence[str] | None = None,
    allow_double_correction: bool = False,
) -> Ledger:
    """Compose what samplers, losses and post-hoc methods do to the class prior.

    Args:
        components: objects that answer ``correction()``, PyTorch's own ``CrossEntropyLoss``, ``Correction``
            values, None (nothing), or pairs of a name and one of these. Without a name an object goes by its
            class, a value by its kind.
        class_counts: training examples of each class, at least 0; a class without any is left out.
        class_names: K names for the table; the class's index by default.
        allow_double_correction: give back an over-corrected ledger instead of raising.

    Raises:
        InputError: the components over-correct (the arithmetic is in the message), a component answers
            nothing usable, or an argument does not fit.

    Call it before training, to catch two corrections of one prior, and again once post-hoc methods are
    fitted, to see what is left; a strength tuned beyond 1.3 on held-out data counts as over-correction, so
    allow it in the second call.

    Source: methods that all correct the same prior: class weights, sampling, logit offsets (arXiv 2007.07314)
    and post-hoc shifts.

    Example:
        >>> weights = Correction("weight", (math.log(1 / 9), 0.0))
        >>> ledger([("weights", weights)], [90, 10]).prior.round(3).tolist()
        [0.5, 0.5]
        >>> ledger([("weights", weights), ("sampler", Correction("sampling", (-0.6, 1.6)))], [90, 10])
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: the class prior must be corrected once, got weights + sampler; ...
    """
    parts = components if isinstance(components, Sequence) else [components]
    counts = _checked_counts(class_counts)
    names = tuple(map(str, range(len(counts)))) if class_names is None else tuple(class_names)
    if len(names) != len(counts):
        raise InputError(
            f"class_names must hold {len(counts)} names, got {len(names)}; give both in one order"
        )
    found = _composed(_entries(parts, counts), counts, names)
    if found.over_corrected and not allow_double_correction:
        raise InputError(
            f"the class prior must be corrected once, got {' + '.join(_movers(found))}; weaken or leave out "
            f"some of it, or set allow_double_correction to accept it\n{found.text()}"
        )
    return found


def _composed(entries: dict[str, Correction], counts: tuple[int, ...], names: tuple[str, ...]) -> Ledger:
    counted = np.array(counts) > 0
    lift = {kind: np.zeros(len(counts)) for kind in _SIGNS}
    for correction in entries.values():
        lift[correction.kind] = lift[correction.kind] + _lift(correction, counted)
    log_counts = np.log(np.where(counted, counts, 1))
    return Ledger(
        class_names=names,
        class_counts=counts,
        entries=entries,
        sampled_prior=_normalised(log_counts + lift["sampling"], counted),
        weights=np.exp(np.clip(lift["weight"], -700, 700)),
        train_shift=-lift["train_shift"],
        test_shift=-lift["test_shift"],
        prior=_normalised(log_counts + sum(lift.values()), counted),
    )


def _lift(correction: Correction, counted: NDArray[np.bool_]) -> Floats:
    if correction.kind == "listed":
        return np.zeros(len(counted))
    return np.where(counted, _SIGNS[correction.kind] * np.array(correction.log_shift), 0)


def _normalised(logs: Floats, counted: NDArray[np.bool_]) -> Floats:
    # No class that has examples falls to 0, which has no logarithm.
    shares = np.where(counted, np.exp(np.maximum(logs - logs[counted].max(), -700)), 0)
    return np.asarray(shares / shares.sum())


def _logs(values: Sequence[float] | Floats) -> Floats:
    found = np.asarray(values, np.float64)
    return np.asarray(np.log(found[found > 0]))


def _checked_counts(class_counts: Sequence[int]) -> tuple[int, ...]:
    if isinstance(class_counts, Mapping) or not hasattr(class_counts, "__len__"):
        raise InputError(
            "class_counts must be a list with one count a class, in class order, got "
            f"{str(class_counts)[:80]}; give [counts[k] for k in range(K)]"
        )
    counts = tuple(int(n) if math.isfinite(n) else -1 for n in class_counts)
    for k, n in enumerate(counts):
        if n < 0:
            raise InputError(
                f"class_counts must be at least 0, got class_counts[{k}]={class_counts[k]}; count again"
            )
    if not any(counts):
        raise InputError(
            f"class_counts must hold a class with examples, got {list(counts)}; count the labels"
        )
    return counts


def _entries(components: Sequence[object], counts: tuple[int, ...]) -> dict[str, Correction]:
    entries: dict[str, Correction] = {}
    for component in components:
        name, correction = _named(component)
        if correction is None:
            continue
        _check(name, correction, counts)
        again = 2
        while name in entries:
            name, again = f"{name.removesuffix(f' {again - 1}')} {again}", again + 1
        entries[name] = correction
    return entries


def _named(component: object) -> tuple[str, Correction | None]:
    if isinstance(component, tuple) and len(component) == 2 and isinstance(component[0], str):
        return component[0], _named(component[1])[1]
    if component is None:
        return "none", None
    if isinstance(component, Correction):
        return component.kind, component
    answer = getattr(component, "correction", None)
    if not callable(answer) and _is_torch_loss(component):
        return "CrossEntropyLoss", _of_torch_loss(component)
    if not callable(answer):
        raise InputError(
            f"components must answer correction(), got {component!r}; give a sampler, loss or post-hoc "
            "method, a Correction, or a pair of a name and one of these"
        )
    return type(component).__name__, answer()


def _is_torch_loss(component: object) -> bool:
    kind = type(component)
    return kind.__name__ == "CrossEntropyLoss" and kind.__module__ == "torch.nn.modules.loss"


def _of_torch_loss(component: Any) -> Correction | None:
    if component.weight is None:
        return None
    return Correction("weight", tuple(math.log(w) if w > 0 else -math.inf for w in component.weight.tolist()))


def _check(name: str, correction: Correction, counts: tuple[int, ...]) -> None:
    if one_of(f"kind of {name}", correction.kind, _SIGNS) == "listed":
        return
    shifts = correction.log_shift
    if len(shifts) != len(counts):
        raise InputError(
            f"log_shift of {name} must hold one number a class ({len(counts)}), got {len(shifts)}; build "
            "every component with the same class counts"
        )
    for k, (shift, n) in enumerate(zip(shifts, counts, strict=True)):
        if n and not math.isfinite(shift):
            raise InputError(
                f"log_shift of {name} must be finite, got log_shift[{k}]={shift}; give class {k} a share"
            )


def _movers(found: Ledger) -> list[str]:
    counted = found.target > 0
    return [name for name in found.entries if np.ptp(found.lift(name)[counted]) > 1e-9]


def _order(found: Ledger) -> list[int]:
    present = [k for k, n in enumerate(found.class_counts) if n]
    return sorted(present, key=lambda k: -found.class_counts[k])


def _component_lines(found: Ledger) -> Iterator[str]:
    most, least = _order(found)[0], _order(found)[-1]
    ends = " to ".join(f"{found.class_names[k]}: {found.class_counts[k]}" for k in (most, least))
    yield (
        f"class prior of {len(found.class_counts)} classes, imbalance factor "
        f"{math.exp(found.log_imbalance):.4g} ({ends})"
    )
    width = max([len("all together"), *map(len, found.entries)])
    yield f"  {'component':{width}}  {'kind':11}  lifts the rarest over the most frequent class"
    total = 0.0
    for name, correction in found.entries.items():
        lift = float(found.lift(name)[least] - found.lift(name)[most])
        words = "not counted" if correction.kind == "listed" else _factor(lift, found.log_imbalance)
        yield f"  {name:{width}}  {correction.kind:11}  {words}"
        total += lift
    yield f"  {'all together':{width}}  {'':11}  {_factor(total, found.log_imbalance)}"


def _factor(lift: float, whole: float) -> str:
    share = f" = {lift / whole:.2f} of the imbalance" if whole else ""
    return f"{math.exp(max(-700, min(lift, 700))):.4g} times{share}"


def _class_lines(found: Ledger) -> Iterator[str]:
    order = _order(found)
    width = max(len("class"), *(min(_NAME, len(found.class_names[k])) for k in order))
    heads = ("count", "share", "sampled", "weight", "s", "t", "prior")
    yield f"  {'class':{width}}" + "".join(f" {head:>8}" for head in heads)
    hidden = max(0, len(order) - 2 * _SHOWN)
    for k in order[:_SHOWN] if hidden else order:
        yield _class_line(found, k, width)
    if hidden:
        yield f"  ... {hidden} more"
        yield from (_class_line(found, k, width) for k in order[-_SHOWN:])


def _class_line(found: Ledger, k: int, width: int) -> str:
    n = found.class_counts[k]
    arrays = (found.sampled_prior, found.weights, found.train_shift, found.test_shift, found.prior)
    numbers = [n / sum(found.class_counts), *(array[k] + 0.0 for array in arrays)]
    return f"  {found.class_names[k][:_NAME]:{width}} {n:8d}" + "".join(f" {_cell(x):>8}" for x in numbers)


def _cell(x: float) -> str:
    text = f"{x:.3g}"
    return text if len(text) <= 8 else f"{x:.2g}"


def _word(found: Ledger, share: float) -> str:
    """What was made of the imbalance, of which ``share`` is left; below 0 it is reversed."""
    if found.over_corrected:
        return f"over-corrected, {abs(share):.2f} of the imbalance is {'reversed' if share < 0 else 'left'}"
    if share >= 0.995:
        return "the class prior is that of the data"
    if abs(share) < 0.005:
        return "the class prior is corrected"
    beyond = f"corrected, {-share:.2f} of the imbalance beyond, which is within bounds"
    return beyond if share < 0 else f"corrected in part, {share:.2f} of the imbalance is left"


def _verdict(found: Ledger) -> str:
    order = _order(found)
    left_out = len(found.class_counts) - len(order)
    note = f"\nclasses without an example, left out: {left_out}" if left_out else ""
    if not found.log_imbalance:
        moved = f", yet {' + '.join(_movers(found))} moves it" if _movers(found) else ""
        return f"the classes are balanced: nothing to correct{moved}{note}"
    most, least = found.prior[order[0]], found.prior[order[-1]]
    share = round(math.log(most / least) / found.log_imbalance, 2) + 0.0
    unknown = f", apart from {' + '.join(found.listed)}" if found.listed else ""
    first, last = (found.class_names[k][:20] for k in (order[0], order[-1]))
    ends = f"prior {most:.4g} for {first}, {least:.4g} for {last} (uniform {1 / len(order):.4g})"
    return f"{_word(found, share)}{unknown}: {ends}{note}"
