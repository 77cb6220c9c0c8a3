"""Models: images to feature maps, rows of tables to feature vectors, and classifiers.

A backbone is an ``nn.Module`` called as ``backbone(images [N, 3, H, W]) -> features [N, C, *spatial]``,
channels first, with the attributes ``channels``, ``pooled``, ``grid``, ``stages``, ``input_size`` and the
method ``pool(features) -> [N, D]`` (see ``Backbone``). ``Classifier(backbone, head)`` joins one to a head,
and ``create_model`` builds both by name. ``MultiExpert`` and ``BBN`` are classifiers that own several copies
of a backbone's last stages; their ``backbone`` gives the maps of all branches side by side. ``MLP``,
``TableResNet`` and ``FTTransformer`` take ``TableInputs`` (or vectors [N, F]) instead of images, say so by
``takes = "table"``, and give vectors [N, C].

Example:
    >>> import torch
    >>> model = create_model("resnet32", num_classes=6, head="csba")
    >>> model(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 6])

To add a backbone, write one file with one class and add a line to ``BACKBONES`` in ``create_model.py``.
"""

from tailgrad.models.backbone import Backbone
from tailgrad.models.bbn import BBN, bbn_weight
from tailgrad.models.check_map import check_map
from tailgrad.models.cifar_resnet import CifarResNet, resnet8, resnet32
from tailgrad.models.classifier import Classifier
from tailgrad.models.create_model import BACKBONES, create_model
from tailgrad.models.fit_images import fit_images
from tailgrad.models.ft_transformer import FTTransformer
from tailgrad.models.mlp import MLP
from tailgrad.models.multi_expert import MultiExpert
from tailgrad.models.projector import Projector
from tailgrad.models.table_resnet import TableResNet
from tailgrad.models.timm_backbone import TimmBackbone
from tailgrad.models.tripath import TriPath
from tailgrad.models.wide_resnet import WideResNet, wrn28_10

__all__ = [
    "BACKBONES",
    "BBN",
    "MLP",
    "Backbone",
    "CifarResNet",
    "Classifier",
    "FTTransformer",
    "MultiExpert",
    "Projector",
    "TableResNet",
    "TimmBackbone",
    "TriPath",
    "WideResNet",
    "bbn_weight",
    "check_map",
    "create_model",
    "fit_images",
    "resnet8",
    "resnet32",
    "wrn28_10",
]
