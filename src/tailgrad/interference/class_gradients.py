"""Mean gradient of every class, exact, from one class-ordered pass over the data."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tailgrad.checks import InputError
from tailgrad.interference.buckets import Chunk
from tailgrad.interference.criterion import Criterion, class_loss
from tailgrad.interference.network import Network
from tailgrad.interference.observer import Observer, Seen


@dataclass(frozen=True, slots=True)
class ClassGradients:
    """Class means over K classes; rows of classes without an example are zero.

    Args:
        parameters: parameter name -> gradients [K, numel] of each class's mean loss.
        logits: mean gradient of the loss with respect to the logits, [K, K] (row: class).
        loss: mean loss [K].
        counts: examples seen [K].

    Example:
        >>> ClassGradients({}, torch.zeros(2, 2), torch.zeros(2), torch.tensor([3, 1])).counts.tolist()
        [3, 1]
    """

    parameters: dict[str, Tensor]
    logits: Tensor
    loss: Tensor
    counts: Tensor


def class_gradients(
    network: Network,
    chunks: Iterable[Chunk],
    criterion: Criterion,
    names: Sequence[str],
    observers: Sequence[Observer] = (),
) -> ClassGradients:
    """Sum the gradients chunk by chunk and divide by the class counts.

    ``g_c = (1/n_c) sum_{i: y_i=c} grad_theta loss_i``. The caller puts the network in evaluation mode, where
    examples are independent; then ``sum_c (n_c/N) g_c`` is the gradient of the mean loss.

    Args:
        network: the network, in evaluation mode.
        chunks: (class, inputs [n, ...]) with one class each.
        criterion: losses [n] from logits [n, K] and target [n].
        names: K class names, for messages.
        observers: told of every chunk, so that the data are read once.

    Raises:
        InputError: a label outside 0 .. K-1, or a loss or gradient that is not finite (its class is named).

    Example:
        >>> from tailgrad.interference.criterion import per_example
        >>> network = Network(torch.nn.Linear(2, 2))
        >>> gradients = class_gradients(network, [(0, torch.ones(3, 2))], per_example(None), ["a", "b"])
        >>> gradients.counts.tolist(), gradients.parameters["weight"].shape
        ([3, 0], torch.Size([2, 4]))
    """
    sums = _Sums(network, len(names))
    for label, inputs in chunks:
        if not 0 <= label < len(names):
            raise InputError(
                f"target must be in [0, {len(names)}), the model's logits, got {label}; "
                "number the classes from 0 or widen the model's last layer"
            )
        logits, features = network.run(inputs)
        if logits.shape[1] != len(names):
            raise InputError(
                f"model must return {len(names)} logits, got {logits.shape[1]}; keep the width fixed"
            )
        loss = class_loss(criterion, logits, label)
        if not loss.isfinite().all():
            raise InputError(
                f"loss must be finite, got {loss[~loss.isfinite()][0].item()} for class {names[label]!r}; "
                "check the weights and the inputs"
            )
        sums.add(label, logits, loss)
        seen = Seen(label, inputs, None if features is None else features.detach())
        for observer in observers:
            observer(seen)
    return sums.means(names)


def check_memory(network: Network, num_classes: int) -> None:
    """Check that the class gradients, K x P numbers, take at most 60 % of the device's memory.

    Raises:
        InputError: they would take more.

    Example:
        >>> check_memory(Network(torch.nn.Linear(2, 2)), 10)
    """
    parameters = network.parameters.values()
    needed = num_classes * sum(p.numel() * p.element_size() for p in parameters)
    device = next(iter(parameters)).device
    if device.type == "cuda":
        there = torch.cuda.mem_get_info(device)[0]
    else:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > 0.6 * there:
        raise InputError(
            f"class gradients must fit into memory, got {num_classes} classes in {needed / 1e9:.1f} GB of "
            f"{there / 1e9:.1f} GB; measure a smaller network or fewer classes"
        )


class _Sums:
    def __init__(self, network: Network, num_classes: int) -> None:
        self._parameters = network.parameters
        self._gradients = {
            name: torch.zeros(num_classes, p.numel(), dtype=p.dtype, device=p.device)
            for name, p in network.parameters.items()
        }
        # small, so kept in float64 on the CPU
        self._logits = torch.zeros(num_classes, num_classes, dtype=torch.float64)
        self._loss = torch.zeros(num_classes, dtype=torch.float64)
        self._counts = torch.zeros(num_classes, dtype=torch.int64)

    def add(self, label: int, logits: Tensor, loss: Tensor) -> None:
        wanted = [logits, *self._parameters.values()]
        of_logits, *gradients = torch.autograd.grad(loss.sum(), wanted, allow_unused=True)
        for name, gradient in zip(self._parameters, gradients, strict=True):
            if gradient is not None:  # a parameter that no loss reaches keeps its zero row
                self._gradients[name][label] += gradient.flatten()
        self._logits[label] += of_logits.detach().cpu().double().sum(0)
        self._loss[label] += loss.detach().cpu().double().sum()
        self._counts[label] += len(loss)

    def means(self, names: Sequence[str]) -> ClassGradients:
        share = self._counts.clamp(min=1)
        for name, gradient in self._gradients.items():
            gradient /= share.to(gradient)[:, None]
            broken = ~gradient.isfinite().all(1)
            if broken.any():
                raise InputError(
                    f"gradients must be finite, got NaN or infinity in {name!r} for class "
                    f"{names[int(broken.nonzero()[0])]!r}; check the weights and the inputs"
                )
        return ClassGradients(
            self._gradients, self._logits / share[:, None], self._loss / share, self._counts
        )
