"""Batch transforms: images [N, C, H, W] in, images of the same shape and device out.

A transform is a callable without state; it draws from PyTorch's global generator, which the training loop
seeds per epoch, and works on the whole batch at once wherever the batch lives. The smallest one is ``Flip``.
To add one: write it in a file of its own and export it here; ``train.augment`` then knows its name.
"""

from tailgrad.augment.color_jitter import ColorJitter
from tailgrad.augment.crop import Crop
from tailgrad.augment.flip import Flip
from tailgrad.augment.normalize import Normalize
from tailgrad.augment.resized_crop import ResizedCrop

__all__ = ["ColorJitter", "Crop", "Flip", "Normalize", "ResizedCrop"]
