"""Networks of all kinds as ONNX: every head, several architectures, images that are resized inside."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tailgrad.augment import Normalize
from tailgrad.heads.names import head_names
from tailgrad.models import create_model, fit_images
from tailgrad.posthoc import AffineGroupCorrection, Chain, ClassThresholds, CostMatrix, PredictionRebalancing
from tailgrad.recipes.restore import Restored
from tailgrad.ship.agreement import agreement
from tailgrad.ship.convert import WithProbabilities, converted
from tailgrad.ship.deployed import Deployed

K = 4


def network(
    size: tuple[int, int] = (32, 32), posthoc: Any = (), name: str = "resnet8", **options: Any
) -> Restored:
    torch.manual_seed(0)
    model = create_model(name, K, **options).eval()
    normalize = Normalize((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
    return Restored(model, tuple("abcd"), size, "squash", normalize, Chain(list(posthoc)))


def check(given: Restored) -> Deployed:
    images = np.random.default_rng(0).integers(0, 256, (3, 3, *given.size), np.uint8)
    deployed = Deployed(given)
    _, model = next(converted(WithProbabilities(deployed, 1.0, None), {"images": images}))
    found = agreement(model, given, {"images": images})
    assert found.fine, found
    return deployed


@pytest.mark.slow
@pytest.mark.parametrize("head", head_names())
def test_every_head(head: str) -> None:
    check(network(head=head))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tripath", "resnet32", "timm/mobilenetv3_small_050", "timm/convnext_atto"])
def test_backbones(name: str) -> None:
    check(network((64, 48), name=name, head="csba"))


@pytest.mark.parametrize(
    "options",
    [
        {"name": "timm/test_vit", "head": "linear"},
        {"architecture": "multi_expert", "head": "csba"},
        {"architecture": "bbn", "head": "cosine"},
    ],
)
def test_architectures_and_networks_of_one_input_size(options: dict[str, Any]) -> None:
    check(network((40, 24), **options))


def test_posthoc_methods_of_all_kinds() -> None:
    logits, target = torch.randn(60, K, generator=torch.Generator().manual_seed(0)), torch.arange(60) % K
    counts = [40, 20, 10, 5]
    steps = [
        PredictionRebalancing(counts),
        AffineGroupCorrection(counts, tail=0.5),
        ClassThresholds(counts),
        CostMatrix(cost=[[float(i != j) * (1 + j) for j in range(K)] for i in range(K)]),
    ]
    check(network(posthoc=Chain(steps).fit(logits, target).steps))


@pytest.mark.parametrize(
    ("size", "input_size"), [((8, 8), None), ((24, 40), None), ((50, 30), (32, 64)), ((32, 32), None)]
)
def test_images_are_fitted_as_the_classifier_does(
    size: tuple[int, int], input_size: tuple[int, int] | None
) -> None:
    given = network(size)
    given.model.backbone.input_size = input_size
    images = torch.rand(2, 3, *size)
    torch.testing.assert_close(
        Deployed(given).fit(images), fit_images(images, input_size), atol=1e-5, rtol=1e-5
    )


class _ForTwo(nn.Module):
    def forward(self, images: Any) -> Any:
        logits = torch.cat([images.float().mean((2, 3)), images.float().mean((1, 2, 3))[:, None]], 1)
        return logits.reshape(2, K), logits


def test_a_number_of_images_inside_the_graph_is_found() -> None:
    images = np.zeros((3, 3, 32, 32), np.uint8)
    _, model = next(converted(_ForTwo(), {"images": images}))
    assert agreement(model, network(), {"images": images}).difference == float("inf")
