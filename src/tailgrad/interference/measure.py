"""Class gradients of any classifier, compared: conflict, its null and the excess."""

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from tailgrad.checks import InputError, in_range
from tailgrad.interference.batches import batches
from tailgrad.interference.branches import branch_norms
from tailgrad.interference.buckets import class_chunks
from tailgrad.interference.class_gradients import check_memory, class_gradients
from tailgrad.interference.criterion import Criterion, per_example
from tailgrad.interference.evaluation import evaluating
from tailgrad.interference.gates import gate_means
from tailgrad.interference.geometry import FeatureMeans
from tailgrad.interference.gram import Array, cosines, grams, norms, total
from tailgrad.interference.groups import Selection, find_groups
from tailgrad.interference.network import Network
from tailgrad.interference.null import Reservoir, null_grams
from tailgrad.interference.observer import Observer
from tailgrad.interference.result import Interference


def measure(
    model: nn.Module,
    data: object,
    parameters: Selection = "backbone",
    *,
    criterion: Criterion | None = None,
    max_per_class: int | None = None,
    null_per_class: int | None = None,
    class_names: Sequence[str] | None = None,
    seed: int = 0,
) -> Interference:
    """Which classes pull the parameters in opposing directions, and beyond what chance explains.

    ``g_c = (1/n_c) sum_{i: y_i=c} grad_theta loss_i`` over all examples, exact, in one class-ordered pass in
    evaluation mode (running BatchNorm statistics, dropout off), without class weights or weight decay;
    ``conflict_ij = <g_i, g_j> / (|g_i| |g_j|)``. Frozen parameters are measured like the others. The model
    comes back as it was: modes, ``requires_grad``, ``.grad`` and the random generators.

    The null lets softmax and prior act as they did while every class sends the same pooled,
    class-balanced features; only the excess over it says that classes interfere. Conflict at convergence on
    training data is never evidence by itself.

    Args:
        model: any module that returns logits [N, K], K >= 2, measured where its parameters are. Pooled
            features come from ``model.outputs(x).features``, branches and gates from the first module that
            has a ``branches`` ModuleList or a ``gates(features) -> [B, N, C]`` method.
        data: a map-style data set or an iterable of (inputs, target) batches, target = class indices. The
            first item decides which; a generator is consumed once.
        parameters: the primary group: ``"backbone"`` (``model.backbone``, else all but the last module, whose
            output is the logits), ``"head"``, ``"all"``, a glob over parameter names (``"layer4.*"``), or
            ``predicate(name, parameter) -> bool``.
        criterion: ``criterion(logits [n, K], target [n]) -> [n]``; unweighted cross-entropy by default.
        max_per_class: at most this many examples a class: drawn at random from a data set, else the first.
        null_per_class: examples of each class in the pooled sample, at least 1; None takes 16, fewer from 11
            classes on. The null costs K backward
            passes over that sample: fewer examples are enough where K is large.
        class_names: K names; ``data.classes`` or the class indices by default.
        seed: draws the pooled sample and, with ``max_per_class``, the order of a data set.

    Raises:
        InputError: data empty or unlabelled, labels that are no class indices, logits that are not [N, K],
            fewer than two classes with examples, a loss or gradient that is not finite (its class is named),
            a criterion that averages over the batch, a group that cannot be resolved (candidates are named).

    Source: arXiv 2606.05740 eq. 12 and 31-33; there over all parameters, which models with and without gates
    do not share, and without a null.

    Example:
        >>> torch.manual_seed(0).initial_seed()
        0
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> result = measure(model, [(torch.randn(60, 4), torch.arange(60) % 3)])
        >>> result.conflict.shape, list(result.groups)
        ((3, 3), ['backbone', 'head', 'all'])
    """
    in_range("max_per_class", 1 if max_per_class is None else max_per_class, 1)
    in_range("null_per_class", 1 if null_per_class is None else null_per_class, 1)
    network, criterion = Network(model), per_example(criterion)
    modules = [network.model, *([criterion] if isinstance(criterion, nn.Module) else [])]
    with evaluating(modules, network.device, seed):
        stream = batches(data, order_seed=None if max_per_class is None else seed)
        first = next(stream)
        groups = find_groups(network, first[0][:2], parameters)
        names = _names(class_names, data, _width(network, first[0][:2]))
        chunks = class_chunks(chain([first], stream), len(names), max_per_class)
        check_memory(network, len(names))
        pool = Reservoir(null_per_class or _pool_share(len(names)), seed)
        features = FeatureMeans(len(names))
        with gate_means(network.model, len(names)) as gates:
            observers: list[Observer] = [pool, features, *([gates] if gates else [])]
            gradients = class_gradients(network, chunks, criterion, names, observers)
        _check_classes(gradients.counts, names)
        products = grams(gradients.parameters)
        gradients.parameters.clear()  # [K, P] would otherwise stand beside the null's
        null_products = null_grams(network, pool, gradients.logits)
    counts = gradients.counts.numpy()
    conflict, null = _group_cosines(products, groups.groups), _group_cosines(null_products, groups.groups)
    return Interference(
        class_names=names,
        counts=counts,
        primary=groups.primary,
        conflict=conflict[groups.primary],
        null=null[groups.primary],
        norms=norms(total(products, groups.groups[groups.primary]), counts),
        loss=np.where(counts > 0, gradients.loss.numpy(), np.nan),
        groups=conflict,
        group_null=null,
        layers=_group_cosines(products, groups.layers),
        layer_null=_group_cosines(null_products, groups.layers),
        layer_norms=_layer_norms(network, products, groups.layers, counts),
        branches=branch_norms(network, products, counts),
        gates=gates.result(gradients.counts) if gates else None,
        geometry=features.result(gradients.counts),
    )


def _pool_share(num_classes: int) -> int:
    """Examples a class that keep the null, K backward passes over the pool, near the cost of the rest."""
    return max(1, min(16, 160 // num_classes))


def _width(network: Network, inputs: Tensor) -> int:
    with torch.no_grad():
        return network.run(inputs)[0].shape[1]


def _names(given: Sequence[str] | None, data: object, num_classes: int) -> tuple[str, ...]:
    if given is None:
        known = getattr(getattr(data, "dataset", data), "classes", None)
        fits = isinstance(known, list | tuple) and len(known) == num_classes
        return tuple(map(str, known)) if fits and known else tuple(map(str, range(num_classes)))
    if isinstance(given, str) or len(given) != num_classes:
        raise InputError(
            f"class_names must hold one name for each of {num_classes} logits, got {given!r}; "
            "give the names the model was trained with, in order"
        )
    return tuple(map(str, given))


def _check_classes(counts: Tensor, names: Sequence[str]) -> None:
    seen = [name for name, n in zip(names, counts.tolist(), strict=True) if n]
    if len(seen) < 2:
        raise InputError(
            f"data must hold examples of at least two classes, got only {', '.join(map(repr, seen))}; "
            "one class cannot conflict with itself"
        )


def _group_cosines(products: Mapping[str, Array], groups: Mapping[str, list[str]]) -> dict[str, Array]:
    return {name: cosines(total(products, members)) for name, members in groups.items()}


def _layer_norms(
    network: Network,
    products: Mapping[str, Array],
    layers: Mapping[str, list[str]],
    counts: npt.NDArray[np.int64],
) -> dict[str, Array]:
    sizes = {name: sum(network.parameters[p].numel() for p in members) for name, members in layers.items()}
    return {
        name: norms(total(products, layers[name]), counts) / np.sqrt(size) for name, size in sizes.items()
    }
