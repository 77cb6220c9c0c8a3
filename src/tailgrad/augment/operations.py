"""The operations that automatic augmentation draws from, one magnitude an image."""

import torch
from torch import Tensor

from tailgrad.augment.beside import beside
from tailgrad.augment.color import blend, change_brightness, gray
from tailgrad.augment.grouped import Change
from tailgrad.augment.warp import warp


def _identity(images: Tensor, _: Tensor) -> Tensor:
    return images


def _matrix(*entries: Tensor | float) -> Tensor:
    length = max(len(entry) for entry in entries if isinstance(entry, Tensor))
    columns = [torch.as_tensor(entry, dtype=torch.float64).expand(length) for entry in entries]
    return torch.stack(columns, 1).view(-1, 2, 3)


def _shear_x(images: Tensor, slope: Tensor) -> Tensor:
    return warp(images, _matrix(1, slope, slope * images.shape[-2] / 2, 0, 1, 0))


def _shear_y(images: Tensor, slope: Tensor) -> Tensor:
    return warp(images, _matrix(1, 0, 0, slope, 1, slope * images.shape[-1] / 2))


def _translate_x(images: Tensor, pixels: Tensor) -> Tensor:
    return warp(images, _matrix(1, 0, -pixels.trunc(), 0, 1, 0))


def _translate_y(images: Tensor, pixels: Tensor) -> Tensor:
    return warp(images, _matrix(1, 0, 0, 0, 1, -pixels.trunc()))


def _rotate(images: Tensor, degrees: Tensor) -> Tensor:
    angle = degrees.deg2rad()
    sine, cosine = angle.sin(), angle.cos()
    return warp(images, _matrix(cosine, -sine, 0, sine, cosine, 0))


def _brightness(images: Tensor, change: Tensor) -> Tensor:
    return change_brightness(images.float(), 1 + change).to(images.dtype)


def _color(images: Tensor, change: Tensor) -> Tensor:
    values = images.float()
    return blend(values, gray(values).floor_(), 1 + change).to(images.dtype)


def _contrast(images: Tensor, change: Tensor) -> Tensor:
    values = images.float()
    return blend(values, gray(values).floor_().mean((1, 2, 3), keepdim=True), 1 + change).to(images.dtype)


def _sharpness(images: Tensor, change: Tensor) -> Tensor:
    if min(images.shape[-2:]) < 3:
        return images
    values = images.float()
    inner = values[..., 1:-1, 1:-1]
    rows = values[..., :-2, :] + values[..., 1:-1, :] + values[..., 2:, :]
    sums = (rows[..., :-2] + rows[..., 1:-1]).add_(rows[..., 2:]).add_(inner, alpha=4)
    softer = -beside(images, change.float()).view(-1, 1, 1, 1)
    inner.addcmul_(sums.div_(13).round_().sub_(inner), softer)
    return values.clamp_(0, 255).to(images.dtype)


def _posterize(images: Tensor, bits: Tensor) -> Tensor:
    kept = 256 - 2 ** (8 - bits.int())
    return images & beside(images, kept.to(torch.uint8)).view(-1, 1, 1, 1)


def _solarize(images: Tensor, share: Tensor) -> Tensor:
    # A byte reaches a threshold where it reaches the next whole number.
    least = beside(images, (255 * share).float().ceil().to(torch.uint8)).view(-1, 1, 1, 1)
    return images ^ (images >= least).byte().neg_()


def _auto_contrast(images: Tensor, _: Tensor) -> Tensor:
    from torchvision.transforms.v2.functional import autocontrast

    changed: Tensor = autocontrast(images)
    return changed


def _equalize(images: Tensor, _: Tensor) -> Tensor:
    from torchvision.transforms.v2.functional import equalize

    changed: Tensor = equalize(images)
    return changed


def _invert(images: Tensor, _: Tensor) -> Tensor:
    return images.bitwise_not()


OPERATIONS: dict[str, Change] = {
    "Identity": _identity,
    "ShearX": _shear_x,
    "ShearY": _shear_y,
    "TranslateX": _translate_x,
    "TranslateY": _translate_y,
    "Rotate": _rotate,
    "Brightness": _brightness,
    "Color": _color,
    "Contrast": _contrast,
    "Sharpness": _sharpness,
    "Posterize": _posterize,
    "Solarize": _solarize,
    "AutoContrast": _auto_contrast,
    "Equalize": _equalize,
    "Invert": _invert,
}
"""torchvision's names and magnitudes; the results equal torchvision's bit for bit on uint8 [N, 3, H, W]."""
