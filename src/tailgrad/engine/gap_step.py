"""One step on the objective that gap weights make of the losses by class."""

from torch import Tensor

from tailgrad.distributed import for_averaging, rows_of_all
from tailgrad.engine.carried import carried
from tailgrad.engine.learner import Learner
from tailgrad.optim import GapWeights
from tailgrad.types import Batch


def gap_step(learner: Learner, batch: Batch) -> Tensor:
    """Forward, ``gap(losses [N], y)``, backward, update; returns the detached mean of the losses.

    ``learner.loss`` gives one loss an example (``reduction="none"``) and carries the ``GapWeights`` as its
    submodule ``gap``. The mean loss is returned rather than the objective, which is a sum of logarithms and
    means little beside a validation loss.

    Raises:
        InputError: the loss carries no ``GapWeights`` or is reduced, or the target is not class indices.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2, bias=False))
        >>> loss = torch.nn.CrossEntropyLoss(reduction="none")
        >>> loss.add_module("gap", GapWeights([0.7, 0.7]))
        >>> batch = Batch(torch.zeros(2, 3, 2, 2), torch.tensor([0, 1]), torch.arange(2))
        >>> gap_step(Learner.plain(net, loss, lr=0.1), batch)
        tensor(0.6931)
    """
    examples = learner.examples(batch)
    losses, _ = rows_of_all(learner.objective(learner, examples))
    target, _ = rows_of_all(examples.target)
    objective: Tensor = carried(learner.loss, "gap", GapWeights)(losses, target)
    for_averaging(losses)
    learner.optimizer.zero_grad(set_to_none=True)
    learner.fabric.backward(objective)
    learner.optimizer.step()
    return losses.detach().mean()
