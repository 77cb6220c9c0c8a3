"""Products of the Hessian of one class's mean loss with vectors."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from tailgrad.checks import InputError
from tailgrad.interference.criterion import Criterion, aside
from tailgrad.interference.gram import Array
from tailgrad.interference.trees import Tree, cut, example_numbers, form, join, length

Run = Callable[[Tree], tuple[Tensor, Tensor | None]]
_CHUNK = 128
_CHUNK_NUMBERS = 2**21  # half of a plain pass: a second backward pass holds about twice the activations

_NOT_TWICE = "model must be twice differentiable, got {}; replace that operation"


class ClassHessian:
    """``v -> H_c v`` with ``H_c = (1/n) sum_i d2 loss_i / d theta2`` over examples of one class.

    ``H v`` is the gradient of ``<grad loss, v>`` (a second backward pass), summed over chunks in float64. The
    graph of the first backward pass is kept where the class fits into one chunk. Not forward over reverse by
    ``torch.func``, as curvlinops does it: with PyTorch 2.12 that is wrong through LayerNorm, fails at
    GroupNorm and took 1.3 to 1.9 times as long.

    Args:
        run: inputs [n, ...] -> (logits [n, K], anything), in evaluation mode.
        parameters: what the Hessian is taken over; P numbers together.
        criterion: losses [n] from logits and target.
        label: the class.
        parts: its examples, n at least 1, in trees [., ...] that need not have one form.

    Raises:
        InputError: the loss is not [n], or it or its second derivative is not finite or does not exist.

    Example:
        >>> from tailgrad.interference.criterion import per_example
        >>> weight = torch.zeros(2, requires_grad=True)
        >>> run = lambda x: (x * weight, None)
        >>> hessian = ClassHessian(run, [weight], per_example(None), 0, [torch.eye(2)])
        >>> hessian(np.array([1.0, 0.0]))
        array([0.125, 0.   ])
    """

    def __init__(
        self, run: Run, parameters: Sequence[Tensor], criterion: Criterion, label: int, parts: Sequence[Tree]
    ) -> None:
        self._run, self._parameters, self._criterion, self._label = run, parameters, criterion, label
        self._chunks = list(_chunks(parts))
        self.count, self._checked = sum(map(length, self._chunks)), False
        self._kept = self._gradients(self._chunks[0]) if len(self._chunks) == 1 else None
        self.size = sum(p.numel() for p in parameters)

    def __call__(self, vector: Array) -> Array:
        """``H_c v`` [P] of ``v`` [P], both float64."""
        pieces = self._pieces(vector)
        total = np.zeros(self.size)
        for chunk in self._chunks:
            gradients = self._gradients(chunk) if self._kept is None else self._kept
            total += self._product(gradients, pieces)
        if not np.isfinite(total).all():
            raise InputError(
                f"the second derivative of the loss must be finite, got {total[~np.isfinite(total)][0]} for "
                f"class {self._label}; measure in float64, or with a smooth activation"
            )
        return total / self.count

    def _pieces(self, vector: Array) -> list[Tensor]:
        parts = torch.split(torch.from_numpy(np.array(vector)), [p.numel() for p in self._parameters])
        return [part.view_as(p).to(p) for part, p in zip(parts, self._parameters, strict=True)]

    def _gradients(self, chunk: Tree) -> tuple[Tensor, ...]:
        logits = self._run(chunk)[0]
        target = torch.full((len(logits),), self._label, device=logits.device)
        loss = aside(self._criterion, logits, target)
        _check_loss(loss, target)
        gradients = torch.autograd.grad(
            loss.sum(), self._parameters, create_graph=True, materialize_grads=True
        )
        if not self._checked:
            _check_graph(gradients)
            self._checked = True
        return gradients

    def _product(self, gradients: Sequence[Tensor], pieces: Sequence[Tensor]) -> Array:
        slope = torch.stack([(g * v).sum() for g, v in zip(gradients, pieces, strict=True)]).sum()
        if not slope.requires_grad:  # a loss that is linear in these parameters
            return np.zeros(self.size)
        try:
            product = torch.autograd.grad(
                slope, self._parameters, retain_graph=self._kept is not None, materialize_grads=True
            )
        except RuntimeError as error:
            if "not implemented" not in str(error):
                raise
            raise InputError(_NOT_TWICE.format(error)) from error
        flat: Array = torch.cat([p.detach().flatten() for p in product]).cpu().double().numpy()
        return flat


def _chunks(parts: Sequence[Tree]) -> Iterator[Tree]:
    by_form: dict[object, list[Tree]] = {}
    for part in parts:
        by_form.setdefault(form(part), []).append(part)
    for alike in map(join, by_form.values()):
        step = max(1, min(_CHUNK, _CHUNK_NUMBERS // max(1, example_numbers(alike))))
        for low in range(0, length(alike), step):
            yield cut(alike, low, low + step)


def _check_loss(loss: object, target: Tensor) -> None:
    label = target[0].item()
    if not isinstance(loss, Tensor) or loss.shape != target.shape:
        came = list(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise InputError(
            f'criterion must return one loss an example [{len(target)}], got {came}; use reduction="none"'
        )
    if not loss.requires_grad:
        raise InputError(
            f"model and criterion must be differentiable, got a loss without a graph for class {label}; "
            "remove no_grad and detach from the forward pass"
        )
    if not loss.isfinite().all():
        raise InputError(
            f"loss must be finite, got {loss[~loss.isfinite()][0].item()} for class {label}; "
            "check the weights and the inputs"
        )


def _check_graph(gradients: Sequence[Tensor]) -> None:
    """Refuse a graph cut by ``once_differentiable``, which PyTorch would pass over with zeros."""
    waiting = [gradient.grad_fn for gradient in gradients]
    seen = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        if node.name() == "torch::autograd::Error":
            raise InputError(_NOT_TWICE.format("a function marked once_differentiable"))
        seen.add(node)
        waiting += [following for following, _ in node.next_functions]


@contextmanager
def twice_differentiable(device: torch.device) -> Iterator[None]:
    """Attention by kernels that have a second derivative, and no autocast.

    Example:
        >>> with twice_differentiable(torch.device("cpu")):
        ...     torch.backends.cuda.flash_sdp_enabled()
        False
    """
    with sdpa_kernel(SDPBackend.MATH), torch.autocast(device.type, enabled=False):
        yield
