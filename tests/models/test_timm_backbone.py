import pytest
import timm
import torch

from tailgrad.checks import InputError
from tailgrad.models import Classifier, TimmBackbone, create_model

# Name, map's channels and spatial shape at the size used below, pooled width, fixed size.
MODELS = [
    ("resnet18", 512, (3, 3), 512, None),
    ("vit_tiny_patch16_224", 192, (197,), 192, (224, 224)),
    ("convnext_atto", 320, (3, 3), 320, None),
    ("swin_tiny_patch4_window7_224", 768, (7, 7), 768, (224, 224)),
    ("mobilenetv3_small_050", 288, (3, 3), 1024, None),
    ("mixer_s32_224", 512, (49,), 512, (224, 224)),
    ("resnetv2_50", 2048, (3, 3), 2048, None),
]


@pytest.mark.parametrize(("name", "channels", "spatial", "pooled", "fixed"), MODELS)
def test_a_linear_head_with_timms_weights_gives_timms_logits(
    name: str, channels: int, spatial: tuple[int, ...], pooled: int, fixed: tuple[int, int] | None
) -> None:
    torch.manual_seed(0)
    reference = timm.create_model(name, num_classes=5).eval()
    layer = reference.get_classifier()
    torch.nn.init.normal_(layer.weight, std=0.1)
    model = create_model(f"timm/{name}", 5).eval()
    backbone = model.backbone
    assert not backbone.net.load_state_dict(reference.state_dict(), strict=False).missing_keys
    model.head.load_state_dict({"weight": layer.weight.flatten(1), "bias": layer.bias})
    images = torch.rand(2, 3, *(fixed or (96, 96)))
    with torch.no_grad():
        expected = reference(images)
        assert expected.std() > 0
        torch.testing.assert_close(model(images), expected, rtol=1e-5, atol=1e-5)
        features = backbone(images)
    assert features.shape == (2, channels, *spatial)
    assert (backbone.channels, backbone.pooled, backbone.input_size) == (channels, pooled, fixed)
    assert backbone.grid == (len(spatial) == 2)


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "vit_tiny_patch16_224"])
def test_layout_is_channels_first(name: str) -> None:
    backbone = TimmBackbone(name).eval()
    with torch.no_grad():
        images = torch.rand(1, 3, 224, 224)
        raw = backbone.net.forward_features(images)
        assert torch.equal(backbone(images)[0, 5].flatten(), raw[0, ..., 5].flatten())


@pytest.mark.parametrize(
    ("name", "frozen"),
    [
        ("mobilenetv3_small_050", ("net.conv_head.weight", "net.conv_head.bias")),
        ("convnext_atto", ("net.head.norm.weight", "net.head.norm.bias")),
        ("resnet18", ()),
    ],
)
def test_heads_on_the_map_freeze_what_only_the_pool_uses(name: str, frozen: tuple[str, ...]) -> None:
    model = create_model(f"timm/{name}", 4, head="csba").train()
    off = [n for n, p in model.named_parameters() if not p.requires_grad]
    assert off == [f"backbone.{n}" for n in frozen]
    model(torch.rand(2, 3, 64, 64)).sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    linear = create_model(f"timm/{name}", 4)
    assert all(p.requires_grad for p in linear.parameters())


def test_stages_cover_all_layers_in_order() -> None:
    backbone = TimmBackbone("resnet18")
    assert backbone.stages == tuple(
        f"net.{n}" for n in ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")
    )
    names = [f"{s}.{n}" for s in backbone.stages for n, _ in backbone.get_submodule(s).named_parameters()]
    assert names == [n for n, _ in backbone.named_parameters()]


def test_building_leaves_mode_and_statistics_alone() -> None:
    backbone = TimmBackbone("resnet18")
    backbone.freeze_pool()
    assert all(m.training for m in backbone.modules())
    assert backbone.net.bn1.num_batches_tracked == 0
    assert all(p.grad is None for p in backbone.parameters())


def test_options_reach_timm() -> None:
    backbone = TimmBackbone("vit_tiny_patch16_224", options={"img_size": 64})
    assert backbone.input_size == (64, 64)
    assert Classifier(backbone, torch.nn.Linear(192, 3))(torch.rand(1, 3, 8, 8)).shape == (1, 3)
    free = TimmBackbone("vit_tiny_patch16_224", options={"dynamic_img_size": True})
    assert free.input_size is None
    assert free(torch.rand(1, 3, 48, 64)).shape == (1, 192, 13)


def test_bad_names_and_options() -> None:
    with pytest.raises(InputError, match=r"'resnet81'; did you mean .*resnet"):
        TimmBackbone("resnet81")
    with pytest.raises(InputError, match=r"see timm\.list_models"):
        TimmBackbone("qqqqqqqq")
    with pytest.raises(InputError, match=r"backbone_options must suit timm's resnet18, got \{'imgsize': 3\}"):
        TimmBackbone("resnet18", options={"imgsize": 3})
    with pytest.raises(InputError, match="one tensor, got list"):
        TimmBackbone("crossvit_tiny_240")


def test_pretrained_weights_out_of_reach_name_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **options: object) -> None:
        raise OSError("no route to host\ndetails")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(InputError, match=r"timm/resnet18 .* no route to host; .* pretrained=False"):
        TimmBackbone("resnet18", pretrained=True)
    with pytest.raises(OSError, match="no route"):
        TimmBackbone("resnet18")
