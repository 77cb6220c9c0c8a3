"""How many logits a network gives, seen while it runs."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.interference.logits_of import logits_of


@contextmanager
def widths(model: nn.Module, trained: Iterable[Tensor]) -> Iterator[set[int]]:
    """Inside, the lengths of rows [N, K] that ``model`` returns are noted; compiled passes are not.

    Where parameters of others are trained too, such as a head beside a backbone, the rows may be features:
    then nothing is noted.

    Args:
        model: a network; one that is never called itself, such as a ``ModuleList``, tells nothing.
        trained: all parameters that are trained.

    Example:
        >>> net = nn.Linear(2, 3)
        >>> with widths(net, net.parameters()) as found:
        ...     out = net(torch.zeros(1, 2))
        >>> found
        {3}
    """
    found: set[int] = set()
    own = {id(parameter) for parameter in model.parameters()}
    if not all(id(parameter) in own for parameter in trained):
        yield found
        return

    def note(_module: nn.Module, _inputs: object, output: object) -> None:
        if torch.compiler.is_compiling():
            return
        try:
            found.add(logits_of(output).shape[1])
        except InputError:
            found.add(0)  # no rows: nothing is known

    handle = model.register_forward_hook(note)
    try:
        yield found
    finally:
        handle.remove()
