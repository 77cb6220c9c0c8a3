"""A classifier whose parameters differ by the class of the example."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from tailgrad.checks import InputError
from tailgrad.optim.replay import Draws

Moves = Mapping[int, Mapping[str, Tensor]]
"""For each class the perturbation of each parameter."""


@contextmanager
def classes_moved(classifier: nn.Module, moves: Moves, target: Callable[[], Tensor]) -> Iterator[None]:
    """Inside, the rows of class c in the classifier's output are those it has at ``theta + moves[c]``.

    Gradients reach theta as if nothing had been added. Every class sees the whole input (BatchNorm) and the
    same random numbers (dropout).

    Args:
        classifier: whose output has one row an example.
        moves: what is added, by class and name of the parameter.
        target: gives the classes [N] of the examples that are on their way.

    Raises:
        InputError: the output has another number of rows, or the classifier did not run.

    Example:
        >>> layer = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.ones_(layer.weight)
        >>> with classes_moved(layer, {5: {"weight": torch.ones(1, 1)}}, lambda: torch.tensor([0, 5])):
        ...     layer(torch.ones(2, 1)).flatten().tolist()
        [1.0, 2.0]
    """
    hooks = _Hooks(classifier, moves, target)
    handles = (
        classifier.register_forward_pre_hook(hooks.before),
        classifier.register_forward_hook(hooks.after, with_kwargs=True),
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    if not hooks.ran:
        raise InputError(
            f"classifier must run as a module in every pass, got {type(classifier).__name__}, whose forward "
            "was not called; give the module that returns what the loss takes, or choose another variant"
        )


class _Hooks:
    def __init__(self, classifier: nn.Module, moves: Moves, target: Callable[[], Tensor]) -> None:
        self._theta = dict(classifier.named_parameters())
        self._moves, self._target = moves, target
        self._inside = self.ran = False

    def before(self, _classifier: nn.Module, _args: object) -> None:
        if not self._inside:
            self._draws = Draws(list(self._theta.values()))

    def after(
        self, classifier: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor
    ) -> Tensor:
        if self._inside:
            return output
        self.ran = True
        target = self._target().to(output.device)
        if output.shape[:1] != target.shape:
            raise InputError(
                f"classifier must return one row for each of {len(target)} examples, got "
                f"{list(output.shape)}; give the module that returns the logits"
            )
        self._inside = True
        try:
            for label in [c for c in torch.unique(target).tolist() if c in self._moves]:
                mine = (target == label).view(-1, *[1] * (output.ndim - 1))
                output = torch.where(mine, self._at(classifier, label, args, kwargs), output)
        finally:
            self._inside = False
        return output

    def _at(self, classifier: nn.Module, label: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        theta = {name: self._theta[name] + move for name, move in self._moves[label].items()}
        with self._draws.again():
            rows: Tensor = functional_call(classifier, theta, args, kwargs)
        return rows
