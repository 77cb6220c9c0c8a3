"""Images that lose their content step by step."""

from collections.abc import Callable

import torch
from torch import Tensor

from tailgrad.checks import in_range, one_of


def corrupt(images: Tensor, kind: str, severity: float, seed: int = 0) -> Tensor:
    """Images of which less and less is left: at severity 0 as they are, at 1 hardly any content.

    - ``blur``: Gaussian, its deviation ``severity^3`` times half the short side; at the border only pixels of
      the image count.
    - ``noise``: a share ``severity`` of every pixel is uniform noise, so that at 1 nothing else is left.
    - ``brightness``: values times ``1 - severity``; at 1 every image is black.
    - ``contrast``: differences from the image's mean, channel by channel, times ``1 - severity``.

    Args:
        images: uint8 [N, C, H, W].
        kind: one of the four.
        severity: in [0, 1].
        seed: of the noise; image n of two calls with one seed gets the same noise.

    Raises:
        InputError: an unknown kind, or a severity outside its range.

    Example:
        >>> images = torch.full((1, 3, 4, 4), 100, dtype=torch.uint8)
        >>> [int(corrupt(images, "brightness", s)[0, 0, 0, 0]) for s in (0, 0.5, 1)]
        [100, 50, 0]
    """
    one_of("kind", kind, KINDS)
    in_range("severity", severity, 0, 1)
    if severity == 0:
        return images
    changed = KINDS[kind](images.float(), float(severity), seed)
    return changed.round_().clamp_(0, 255).to(torch.uint8)


def _blur(images: Tensor, severity: float, _: int) -> Tensor:
    height, width = images.shape[-2:]
    deviation = severity**3 * min(height, width) / 2
    return _smoother(height, deviation) @ images @ _smoother(width, deviation).T


def _smoother(length: int, deviation: float) -> Tensor:
    """The matrix [length, length] of a Gaussian average along one axis; each row sums to 1."""
    place = torch.arange(length, dtype=torch.float64)
    weights = torch.softmax(-((place[:, None] - place) ** 2) / (2 * deviation**2), 1)
    return weights.float()


def _noise(images: Tensor, severity: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(images.shape, generator=generator) * 255
    return (1 - severity) * images + severity * noise


def _darken(images: Tensor, severity: float, _: int) -> Tensor:
    return (1 - severity) * images


def _flatten(images: Tensor, severity: float, _: int) -> Tensor:
    mean = images.mean((-2, -1), keepdim=True)
    return (1 - severity) * images + severity * mean


KINDS: dict[str, Callable[[Tensor, float, int], Tensor]] = {
    "blur": _blur,
    "noise": _noise,
    "brightness": _darken,
    "contrast": _flatten,
}
