"""Gradients of every label's own loss, its positive and negative images apart, fold by fold."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.checks import InputError, in_range
from tailgrad.interference.evaluation import evaluating
from tailgrad.interference.gram import Array, gram
from tailgrad.interference.groups import Selection, find_groups
from tailgrad.interference.network import Network
from tailgrad.interference.progress import Tell, silent
from tailgrad.interference.sketch import Sketcher

SIDES = ("positive", "negative", "null")
"""From images that have the label, from those that have not, and with its targets replaced by their mean."""
_MOST = 2**27
"""Numbers kept exactly: 512 MB; beyond, every gradient is sketched."""
_SKETCH = 2**16

Pairs = Iterable[tuple[Tensor, Tensor]]


@dataclass(frozen=True, eq=False, slots=True)
class LabelGradients:
    """Inner products of all label gradients, by side and fold.

    Args:
        products: [3, L, F, 3, L, F] over ``SIDES``, labels and folds. Each gradient is the sum over its
            images divided by all N images, so that folds, and positive and negative side, add up.
        positives: images that have each label [L].
        images: N.
        shares: of the images in each fold [F].
        logits: mean absolute logit gradient from positives and from negatives [2, L], over all images.
        parameters: name of the group that was measured.
        is_sketched: whether gradients were projected first, which adds noise to the products.

    Example: see ``label_gradients``.
    """

    products: Array
    positives: Array
    images: int
    shares: Array
    logits: Array
    parameters: str
    is_sketched: bool


def label_gradients(
    model: nn.Module,
    data: Pairs,
    parameters: Selection = "backbone",
    *,
    folds: int = 8,
    max_images: int | None = None,
    progress: Tell = silent,
) -> LabelGradients:
    """Differentiate the binary cross-entropy of each label on its own, in evaluation mode.

    ``g_k = (1/N) sum_i (sigmoid(z_ik) - y_ik) grad z_ik``, its positive side the images with ``y_ik = 1``.
    The null has the label's share of positives in place of ``y_ik``: the mean of ``g_k`` over all ways to
    deal the label's targets out to the images anew.

    Args:
        model: any module that returns logits [N, L].
        data: batches of (inputs, targets [n, L] of zeros and ones), in random order; the list is read once.
        parameters: ``"backbone"``, ``"head"``, ``"all"``, a glob over parameter names or a predicate.
        folds: parts of the images, dealt out in turn, at least 2.
        max_images: read no more than these, or None.
        progress: told of the images done.

    Raises:
        InputError: no data, targets that do not fit the logits or are no zeros and ones, logits that are not
            finite, fewer images than folds, or a number out of range.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> found = label_gradients(model, [(torch.randn(40, 4), torch.rand(40, 3).round())], folds=4)
        >>> found.products.shape
        (3, 3, 4, 3, 3, 4)
    """
    in_range("folds", folds, 2)
    in_range("max_images", 1 if max_images is None else max_images, 1)
    network = Network(model)
    with evaluating([network.model], network.device):
        inputs, target = _read(data, max_images)
        if len(target) < folds:
            raise InputError(
                f"data must hold at least one image for each of {folds} folds, got {len(target)}; give more "
                "images or fewer folds"
            )
        groups = find_groups(network, inputs[:2], parameters)
        return _Pass(network, groups.members(), groups.primary, target, folds).run(inputs, progress)


def _read(data: Pairs, max_images: int | None) -> tuple[Tensor, Tensor]:
    """The images and targets that are wanted, together."""
    inputs: list[Tensor] = []
    target: list[Tensor] = []
    seen = 0
    for images, found in data:
        if found.ndim != 2 or len(found) != len(images):
            raise InputError(
                f"targets must be [n, L], one row an image, got {list(found.shape)} for {len(images)} "
                "images; give zeros and ones"
            )
        _check_values(found)
        most = len(images) if max_images is None else max_images - seen
        inputs.append(images[:most])
        target.append(found[:most])
        seen += len(inputs[-1])
        if max_images is not None and seen >= max_images:
            break
    if not seen:
        raise InputError("data must hold at least one image, got none; check the source")
    return torch.cat(inputs), torch.cat(target)


def _check_values(target: Tensor) -> None:
    bad = ((target != 0) & (target != 1)).nonzero()
    if len(bad):
        i, k = bad[0].tolist()
        raise InputError(
            f"targets must hold zeros and ones, got {target[i, k].item()} for label {k} of image {i} of a "
            "batch; round them"
        )


class _Pass:
    """One pass over the images, fold by fold."""

    def __init__(
        self, network: Network, names: Sequence[str], group: str, target: Tensor, folds: int
    ) -> None:
        self.network, self.group, self.folds = network, group, folds
        self.target = target.to(network.device, torch.float64)
        self.labels = target.shape[1]
        self.parameters = {name: network.parameters[name] for name in names}
        rows = len(SIDES) * self.labels * folds
        numels = {name: p.numel() for name, p in self.parameters.items()}
        total = sum(numels.values())
        self.sketcher = Sketcher(numels, _SKETCH if rows * total > _MOST else max(total, 64))
        self.rows = torch.zeros(len(SIDES), self.labels, folds, self.sketcher.size, device=network.device)
        self.logits = torch.zeros(2, self.labels, dtype=torch.float64, device=network.device)

    def run(self, inputs: Tensor, progress: Tell) -> LabelGradients:
        done, shares = 0, []
        for fold in range(self.folds):
            part = slice(fold, None, self.folds)
            for images, target in _chunks(inputs[part], self.target[part]):
                self._add(fold, images, target)
                done += len(images)
                progress("examples", done, None)
            shares.append(len(self.target[part]) / len(self.target))
        flat = gram(self.rows.flatten(0, 2))
        sizes = self.rows.shape[:3]
        return LabelGradients(
            flat.reshape(*sizes, *sizes),
            self.target.sum(0).cpu().numpy(),
            len(self.target),
            torch.tensor(shares, dtype=torch.float64).numpy(),
            self.logits.cpu().numpy(),
            self.group,
            not self.sketcher.is_exact,
        )

    def _add(self, fold: int, images: Tensor, target: Tensor) -> None:
        logits = self.network.run(images)[0]
        if logits.shape[1] != self.labels:
            raise InputError(
                f"targets must have a column for each of {logits.shape[1]} logits, got {self.labels}; give "
                "the labels that the model was trained with"
            )
        if not bool(logits.isfinite().all()):
            raise InputError(
                f"logits must be finite, got {logits[~logits.isfinite()][0].item()}; look for the image or "
                "the step that broke the model"
            )
        n = len(self.target)
        with torch.no_grad():
            s = logits.double().sigmoid()
            sides = (target * (s - 1) / n, (1 - target) * s / n, (s - self.target.mean(0)) / n)
            self.logits += torch.stack([sides[0].abs().sum(0), sides[1].sum(0)])
        for k in range(self.labels):
            for place, weights in enumerate(sides):
                if weights[:, k].any():
                    self._differentiate(logits[:, k], weights[:, k].to(logits), (place, k, fold))

    def _differentiate(self, logit: Tensor, weights: Tensor, row: tuple[int, int, int]) -> None:
        found = torch.autograd.grad(
            logit, list(self.parameters.values()), weights, retain_graph=True, allow_unused=True
        )
        for name, gradient in zip(self.parameters, found, strict=True):
            if gradient is not None:
                self.rows[row] += self.sketcher.of(name, gradient.float().flatten()[None])[0]


def _chunks(inputs: Tensor, target: Tensor, size: int = 64) -> Iterator[tuple[Tensor, Tensor]]:
    return ((inputs[i : i + size], target[i : i + size]) for i in range(0, len(target), size))


def label_losses(logits: Tensor, target: Tensor) -> Tensor:
    """The loss that is differentiated, one number a label: the mean binary cross-entropy over images [L].

    Example:
        >>> label_losses(torch.zeros(2, 1), torch.tensor([[1.0], [0.0]]))
        tensor([0.6931])
    """
    return F.binary_cross_entropy_with_logits(logits, target.to(logits), reduction="none").mean(0)
