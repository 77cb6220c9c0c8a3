"""A network in evaluation mode before labelled data, and what is wanted of a pass over them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from numbers import Integral

import torch
from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.interference.batches import batches
from tailgrad.interference.criterion import Criterion, per_example
from tailgrad.interference.evaluation import evaluating
from tailgrad.interference.groups import Groups, Selection, find_groups
from tailgrad.interference.narrow_head import narrow_head
from tailgrad.interference.network import Network
from tailgrad.interference.trees import Tree, cut


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted of a pass.

    Args:
        max_per_class: most examples of a class, or None.
        folds: folds of each class, 0 for none.
        sketch: numbers to keep of each gradient, 0 exact, None decides.
        seed: draws sketches, and the order of a data set where only some examples are wanted.

    Raises:
        InputError: 1 fold, fewer than none, or a part of one.

    Example:
        >>> Order().folds
        0
    """

    max_per_class: int | None = None
    folds: int = 0
    sketch: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        folds: object = self.folds
        if not isinstance(folds, Integral):
            raise InputError(f"folds must be a whole number, got {folds!r}; 8 is usual")
        if self.folds < 0 or self.folds == 1:
            raise InputError(f"folds must be 0 or at least 2, got {self.folds}; 8 is usual")


@dataclass(frozen=True, slots=True)
class Source:
    """A network in evaluation mode before labelled data, its groups and classes known.

    Args:
        network: the network.
        stream: the data, from their first batch.
        groups: parameter groups.
        class_names: K names.
        criterion: losses [n] from logits and target.
        order: what is wanted.
        head: the last linear layer, where it is narrower than K.

    Example: see ``opened``.
    """

    network: Network
    stream: Iterator[tuple[Tree, Tensor]]
    groups: Groups
    class_names: tuple[str, ...]
    criterion: Criterion
    order: Order
    head: nn.Linear | None = None


@contextmanager
def opened(
    network: Network,
    data: object,
    parameters: Selection,
    criterion: Criterion | None,
    class_names: Sequence[str] | None,
    order: Order,
) -> Iterator[Source]:
    """Evaluation mode, the first batch read, parameter groups resolved.

    Raises:
        InputError: as ``class_gradients``.

    Example:
        >>> data = [(torch.eye(2), torch.tensor([0, 1]))]
        >>> with opened(Network(nn.Linear(2, 2)), data, "all", None, None, Order()) as source:
        ...     source.class_names
        ('0', '1')
    """
    criterion = per_example(criterion)
    modules = [network.model, *([criterion] if isinstance(criterion, nn.Module) else [])]
    with evaluating(modules, network.device, order.seed):
        stream = batches(data, order_seed=None if order.max_per_class is None else order.seed)
        first = next(stream)
        few = cut(first[0], 0, 2)
        groups = find_groups(network, few, parameters)
        with torch.no_grad():
            width = network.run(few)[0].shape[1]
        names = _names(class_names, data, width)
        yield Source(
            network, chain([first], stream), groups, names, criterion, order, narrow_head(network, few)
        )


def _names(given: Sequence[str] | None, data: object, num_classes: int) -> tuple[str, ...]:
    if given is None:
        known = getattr(getattr(data, "dataset", data), "classes", None)
        # names that stand twice in a data set, which the user did not choose, tell classes apart no better
        fits = isinstance(known, list | tuple) and len(set(map(str, known))) == len(known) == num_classes
        return tuple(map(str, known)) if fits and known else tuple(map(str, range(num_classes)))
    if isinstance(given, str) or len(given) != num_classes:
        raise InputError(
            f"class_names must hold one name for each of {num_classes} logits, got {given!r}; "
            "give the names the model was trained with, in order"
        )
    names = tuple(map(str, given))
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise InputError(f"class_names must differ from one another, got {twice!r} twice; rename one")
    return names
