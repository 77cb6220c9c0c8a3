"""Batch transforms, mixers and views. Each class states which it is by ``kind``.

A ``"transform"`` takes images [N, C, H, W] and gives images of the same shape and device; those with
``on = "bytes"`` need uint8 images, before ``Normalize``; the others take either, ``Normalize`` apart. The
smallest one is ``Flip``.

A ``"mixer"`` is made of class counts and called ``mixer(images, target, partner=None)``; it gives mixed
images and probabilities [N, K]. ``partner`` is a second batch (images, target), demanded where
``needs_partner``; without it images are mixed with one another. A mixer that follows a schedule has
``set_epoch(epoch)``. The smallest one is ``Mixup``.

``"views"`` takes images [N, C, H, W] and gives several views of each, [V, N, C, H, W].

All draw from PyTorch's global generator, which the training loop seeds per epoch, and work on the whole batch
at once wherever the batch lives. To add one: write it in a file of its own and export it here; recipes then
know its name. ``feature_smote`` is a function of feature vectors and stands apart.
"""

from tailgrad.augment.auto_augment import AutoAugment
from tailgrad.augment.cmo import CMO
from tailgrad.augment.color_jitter import ColorJitter
from tailgrad.augment.crop import Crop
from tailgrad.augment.cut_mix import CutMix
from tailgrad.augment.cutout import Cutout
from tailgrad.augment.feature_smote import feature_smote
from tailgrad.augment.flip import Flip
from tailgrad.augment.mixup import Mixup
from tailgrad.augment.normalize import Normalize
from tailgrad.augment.rand_augment import RandAugment
from tailgrad.augment.remix import Remix
from tailgrad.augment.resized_crop import ResizedCrop
from tailgrad.augment.sim_clr_views import SimCLRViews
from tailgrad.augment.trivial_augment import TrivialAugment

__all__ = [
    "CMO",
    "AutoAugment",
    "ColorJitter",
    "Crop",
    "CutMix",
    "Cutout",
    "Flip",
    "Mixup",
    "Normalize",
    "RandAugment",
    "Remix",
    "ResizedCrop",
    "SimCLRViews",
    "TrivialAugment",
    "feature_smote",
]
