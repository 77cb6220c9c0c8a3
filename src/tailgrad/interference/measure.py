"""Class gradients of any classifier, compared: conflict, its null, its error, and what an update does."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from torch import nn

from tailgrad.checks import InputError, in_range
from tailgrad.interference.branches import branch_norms
from tailgrad.interference.collapse import classifier_weight
from tailgrad.interference.collect import collect
from tailgrad.interference.compared import check_classes, compared
from tailgrad.interference.contributions import contributions
from tailgrad.interference.control import Control
from tailgrad.interference.criterion import Criterion
from tailgrad.interference.effect import check_update, effect_of
from tailgrad.interference.gradients import ClassGradients
from tailgrad.interference.groups import Selection
from tailgrad.interference.looks import watching
from tailgrad.interference.many_classes import measure_many
from tailgrad.interference.network import Forward, Network
from tailgrad.interference.noise import directional_noise
from tailgrad.interference.null import Null, measure_null
from tailgrad.interference.products import MAX_LAYERED, Products, layer_norms
from tailgrad.interference.progress import Tell, counting, silent
from tailgrad.interference.result import Interference
from tailgrad.interference.room import MAX_MATRIX
from tailgrad.interference.source import Order, Source, opened
from tailgrad.interference.update import Update

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Extras:
    """What a measurement takes up besides the class gradients.

    Args:
        null_examples: pooled examples for the null; None takes as many as cost about a tenth of the pass, 16
            to 160.
        train_counts: training examples of each class [K], by which ``contributions`` and ``descent`` weigh;
            the measured counts by default.
        class_weights: weights of the training loss [K], for ``contributions``; None for ones.
        control: measure once more with as many examples of every class as the rarest has (the data are read
            twice).
        training_batches: batches as the training sampler draws them, for the directional noise.
        progress: ``progress(part, done, of)`` is called while it lasts: ``("examples", 640, None)`` of each
            pass, then ``("null", 3, 10)`` of the null's gradients. None for silence.

    Raises:
        InputError: fewer than one pooled example.

    Example:
        >>> Extras().control
        False
    """

    null_examples: int | None = None
    train_counts: Sequence[int] | None = None
    class_weights: Sequence[float] | None = None
    control: bool = False
    training_batches: object = None
    progress: Tell | None = None

    def __post_init__(self) -> None:
        in_range("null_examples", 1 if self.null_examples is None else self.null_examples, 1)


def measure(
    model: nn.Module,
    data: object,
    parameters: Selection = "backbone",
    *,
    criterion: Criterion | None = None,
    forward: Forward | None = None,
    folds: int = 8,
    sketch: int | None = None,
    update: Update | None = None,
    max_per_class: int | None = None,
    class_names: Sequence[str] | None = None,
    seed: int = 0,
    extras: Extras = Extras(),
) -> Interference:
    """Which classes pull the parameters in opposing directions, and beyond what chance explains.

    ``g_c = (1/n_c) sum_{i: y_i=c} grad_theta loss_i`` in evaluation mode (see ``class_gradients``);
    ``conflict_ij = <g_i, g_j> / (|g_i| |g_j|)``. The model comes back as it was.

    It costs a forward and a backward pass over the data, with a gradient of all parameters for each class and
    fold, and the null: four more such gradients for each logit (or input of the last layer, if these are
    fewer), over at least 16 pooled examples. Where the data are few, it is the number of gradients that
    counts, and not that of the examples.

    The null lets softmax and prior act as they did while every class sends the same pooled, class-balanced
    features; only the excess over it says that classes interfere. Gradients of rare classes are noisy, which
    draws cosines to 0: ``disattenuated`` divides the noise out and carries a 90 % interval. Conflict at
    convergence on training data is never evidence by itself.

    Args:
        model: any module that returns logits [N, K], K >= 2, measured where its parameters are. Pooled
            features come from ``model.outputs(x).features``, branches and gates from the first module that
            has a ``branches`` ModuleList or a ``gates(features) -> [B, N, C]`` method.
        data: a map-style data set or an iterable of (inputs, target) batches, see ``class_gradients``.
        parameters: the primary group: ``"backbone"``, ``"head"``, ``"all"``, a glob over parameter names, or
            ``predicate(name, parameter) -> bool``.
        criterion: ``criterion(logits [n, K], target [n]) -> [n]``; unweighted cross-entropy by default.
        forward: ``forward(model, inputs) -> logits`` for models that are not called with the inputs alone.
        folds: disjoint folds of each class, for the error bars; 0 for none, else at least 2.
        sketch: numbers kept of each gradient, see ``class_gradients``.
        update: a change of the parameters (``Update.of_step``, ``Update.between``) to set beside the class
            gradients; the data are then read twice.
        max_per_class: at most this many examples a class: drawn at random from a data set, else the first.
        class_names: K names; ``data.classes`` or the class indices by default.
        seed: draws the pooled sample, the sketches and, with ``max_per_class``, the order of a data set.
        extras: what else to take up.

    Returns:
        the measurement; above 2,000 classes a ``TiledInterference``, whose matrices come in blocks and whose
        ``notes`` name what was asked for and left out (intervals, update, control, noise, contributions).

    Raises:
        InputError: as ``class_gradients``; fewer than two classes with examples; an update of another model;
            data that cannot be read twice where that is needed.

    Source: arXiv 2606.05740 eq. 12 and 31-33; there over all parameters, which models with and without gates
    do not share, and without a null. Null, intervals and the rest: ours (docs/conflict.md).

    Example:
        >>> import torch
        >>> torch.manual_seed(0).initial_seed()
        0
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> result = measure(model, [(torch.randn(60, 4), torch.arange(60) % 3)])
        >>> result.conflict.shape, list(result.groups)
        ((3, 3), ['backbone', 'head', 'all'])
    """
    in_range("max_per_class", 1 if max_per_class is None else max_per_class, 1)
    _check_readable_twice(data, update is not None, extras.control)
    order = Order(max_per_class, folds, sketch, seed)
    network = Network(model, forward)

    def look(at: object, how: Order) -> AbstractContextManager[Source]:
        return opened(network, at, parameters, criterion, class_names, how)

    def again(few: int) -> Interference:
        with look(data, Order(few, min(folds, few), sketch, seed)) as source:
            return _measured(source, data, None, extras)

    with look(data, order) as source:
        _check_lengths(extras, len(source.class_names))
        if len(source.class_names) > MAX_MATRIX:
            if update is not None:
                check_update(source, update)
            told = extras.progress or silent
            return measure_many(source, extras.null_examples, list(_left_out(update, extras)), told)
        result = _measured(source, data, update, extras)
    if extras.control:
        result = replace(result, control=_control(result, again))
    if extras.training_batches is not None:
        with look(extras.training_batches, order) as source:
            result = replace(result, noise=directional_noise(source))
    return result


def _check_readable_twice(data: object, has_update: bool, has_control: bool) -> None:
    if (has_update or has_control) and isinstance(data, Iterator):
        why = "an update is set beside them" if has_update else "a class-balanced control is asked for"
        raise InputError(
            f"data must be readable twice where {why}, got a {type(data).__name__} that the first pass "
            "consumes; pass a list, a loader or a data set"
        )


def _check_lengths(extras: Extras, num_classes: int) -> None:
    for name, given in (("train_counts", extras.train_counts), ("class_weights", extras.class_weights)):
        if given is not None and np.shape(given) != (num_classes,):
            raise InputError(
                f"{name} must hold one number for each of {num_classes} classes, got shape "
                f"{list(np.shape(given))}; give them in the order of the logits"
            )


def _left_out(update: Update | None, extras: Extras) -> Iterator[str]:
    """What was asked for and is not measured above 2,000 classes."""
    if update is not None:
        yield "the effect of the update"
    if extras.control:
        yield "the class-balanced control"
    if extras.training_batches is not None:
        yield "directional noise (training_batches)"
    weighing = [name for name in ("train_counts", "class_weights") if getattr(extras, name) is not None]
    if weighing:
        yield f"contributions and descent ({', '.join(weighing)})"


def _measured(source: Source, data: object, update: Update | None, extras: Extras) -> Interference:
    if update is not None:
        check_update(source, update)
    tell = extras.progress or silent
    with watching(source) as looks:
        observers = [*looks.observers(), counting(tell)]
        gradients = collect(source, list(source.network.parameters), observers)
    check_classes(gradients)
    products = Products(gradients)
    counts = _train_counts(extras, gradients)
    # A class that is counted and not measured has an inner product of 0 with every other, which says nothing.
    seen = np.where(gradients.counts > 0, 1.0, np.nan)[:, None]
    parts = {
        name: seen * contributions(products.gram(name), counts, extras.class_weights)
        for name in (source.groups.primary, "all")
    }
    effect = None if update is None else effect_of(update, gradients, source, data, parts["all"])
    squares = products.squares()
    gradients.rows.clear()  # [K, P] would otherwise stand beside the null's
    names = list(source.network.parameters)
    null = measure_null(source, names, looks.pool, gradients.logits, extras.null_examples, tell)
    return replace(
        compared(gradients, products, null, counts),
        contributions=parts[source.groups.primary],
        effect=effect,
        null_error=null.error(source.groups.members()),
        branches=None if squares is None else branch_norms(source.network, squares, gradients.counts),
        layer_norms=layer_norms(squares, source, gradients.counts > 0),
        gates=looks.gates.result(gradients.counts) if looks.gates else None,
        geometry=looks.features.result(
            gradients.counts, classifier_weight(source.network.model, len(source.class_names))
        ),
        notes=(*gradients.notes, *_notes(null, products)),
    )


def _train_counts(extras: Extras, gradients: ClassGradients) -> Counts:
    if extras.train_counts is None:
        return gradients.counts
    return np.asarray(extras.train_counts)


def _notes(null: Null, products: Products) -> Iterator[str]:
    if null.is_cheap:
        yield "The null is its cheap form, cosines of mean logit gradients: measuring it would cost too much."
    if not products.is_layered:
        yield f"Above {MAX_LAYERED} classes no matrices are kept by layer and block."


def _control(result: Interference, again: Callable[[int], Interference]) -> Control:
    """Every class with as many examples as the rarest (at least two)."""
    few = max(2, int(result.counts[result.counts > 0].min()))
    balanced = again(few)
    return Control(few, balanced.conflict, balanced.null, balanced.disattenuated, balanced.interval)
