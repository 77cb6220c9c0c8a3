"""Mean gradient of every class of any classifier, from one pass over the data."""

from collections.abc import Sequence

from torch import nn

from tailgrad.checks import in_range
from tailgrad.interference.collect import collect
from tailgrad.interference.criterion import Criterion
from tailgrad.interference.gradients import ClassGradients
from tailgrad.interference.groups import Selection
from tailgrad.interference.network import Forward, Network
from tailgrad.interference.source import Order, opened


def class_gradients(
    model: nn.Module,
    data: object,
    criterion: Criterion | None = None,
    parameters: Selection = "backbone",
    *,
    forward: Forward | None = None,
    folds: int = 0,
    sketch: int | None = None,
    max_per_class: int | None = None,
    class_names: Sequence[str] | None = None,
    seed: int = 0,
) -> ClassGradients:
    """Mean gradient of every class in evaluation mode, exact, in one pass over the data.

    ``g_c = (1/n_c) sum_{i: y_i = c} grad_theta loss_i``, without class weights or weight decay, summed in
    float32 (float64 for a float64 model), under autocast too. Examples are sorted into packs of one or many
    classes; where the network treats examples one by one, which is tried out first, one backward pass serves
    all classes of a pack. ``sum_c (n_c/N) g_c`` is the gradient of the mean loss. The model comes back as it
    was: modes, ``requires_grad``, ``.grad`` and the random generators.

    Args:
        model: any module that returns logits [N, K], K >= 2, or an object with ``.logits``; frozen parameters
            are measured like the others.
        data: a map-style data set or an iterable of (inputs, target) batches, target = class indices. Inputs
            may be tensors, tuples or dictionaries of tensors; a dictionary batch with ``labels`` is split.
            The first item decides which; a generator is consumed once.
        criterion: ``criterion(logits [n, K], target [n]) -> [n]``; unweighted cross-entropy by default.
        parameters: ``"backbone"`` (``model.backbone``, else all but the last module, whose output is the
            logits), ``"head"``, ``"all"``, a glob over names (``"layer4.*"``) or a predicate of name and
            parameter.
        forward: ``forward(model, inputs) -> logits`` for models that are not called with the inputs alone.
        folds: disjoint folds of each class whose means are kept as sketches of 1,024 numbers, for error bars;
            0 for none, else at least 2.
        sketch: numbers to keep of each gradient, at least 64; 0 keeps them exact, None sketches to 4,096
            where K x P numbers would take over a quarter of the free memory, or above 2,000 classes.
        max_per_class: at most this many examples a class: drawn at random from a data set, else the first.
        class_names: K names; ``data.classes`` or the class indices by default.
        seed: draws the sketch and, with ``max_per_class``, the order of a data set.

    Raises:
        InputError: data empty or unlabelled, labels that are no class indices, logits that are not [N, K],
            a loss or gradient that is not finite (its class is named), a criterion that averages over the
            batch, parameters that cannot be resolved or that no loss reaches, no room for exact gradients.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> gradients = class_gradients(model, [(torch.randn(60, 4), torch.arange(60) % 3)])
        >>> gradients.rows["0.weight"].shape, gradients.counts
        (torch.Size([3, 32]), array([20, 20, 20]))
    """
    in_range("max_per_class", 1 if max_per_class is None else max_per_class, 1)
    order = Order(max_per_class, folds, sketch, seed)
    with opened(Network(model, forward), data, parameters, criterion, class_names, order) as source:
        return collect(source, source.groups.members())
