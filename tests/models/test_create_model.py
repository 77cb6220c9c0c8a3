import pytest
import torch
from torch import nn

from tailgrad import create_model as from_the_top
from tailgrad.checks import InputError
from tailgrad.heads import CSBA
from tailgrad.heads.names import head_names
from tailgrad.models import Classifier, WideResNet, create_model

TIMM = ["resnet18", "vit_tiny_patch16_224", "convnext_atto", "mobilenetv3_small_050"]


def _train_step(model: Classifier, classes: int) -> None:
    model.train()
    logits = model(torch.rand(2, 3, 8, 8))
    assert logits.shape == (2, classes)
    nn.functional.cross_entropy(logits, torch.tensor([0, classes - 1])).backward()
    grads = [p.grad for p in model.parameters() if p.requires_grad]
    assert all(g is not None and g.isfinite().all() for g in grads)
    head = [p.grad for p in model.head.parameters()]
    assert sum(float(g.abs().sum()) for g in head) > 0


@pytest.mark.parametrize("head", head_names())
@pytest.mark.parametrize(
    "name", ["tripath", "resnet32", "timm/vit_tiny_patch16_224", "timm/mobilenetv3_small_050"]
)
def test_every_head_attaches_and_trains(name: str, head: str) -> None:
    options = {"width": 4} if head == "class_heads" else {}
    _train_step(create_model(name, 4, head=head, head_options=options), 4)


@pytest.mark.parametrize("name", TIMM)
def test_csba_takes_the_width_of_any_backbone(name: str) -> None:
    model = create_model(f"timm/{name}", 6, head="csba")
    assert isinstance(model.head, CSBA)
    assert model.head.channels == model.backbone.channels
    overhead = 3 * 2 * model.backbone.channels * (model.backbone.channels // 8)
    baseline = create_model(f"timm/{name}", 6, head="branch_sum")
    count = [sum(p.numel() for p in m.head.parameters()) for m in (model, baseline)]
    assert count[0] - count[1] == overhead
    _train_step(model, 6)


def test_csba_on_a_channels_last_transformer_and_a_wide_network() -> None:
    swin = create_model("timm/swin_tiny_patch4_window7_224", 3, head="csba").eval()
    with torch.no_grad():
        assert swin(torch.rand(1, 3, 32, 32)).shape == (1, 3)
        assert swin.head.gates(swin.features(torch.rand(1, 3, 32, 32))).shape == (3, 1, 768)
    _train_step(Classifier(WideResNet(depth=10, width=2), CSBA(128, 5)), 5)
    with torch.device("meta"):
        assert create_model("wrn28_10", 10, head="csba").head.channels == 640


def test_class_heads_use_one_by_one_convolutions_without_a_grid() -> None:
    tokens = create_model("timm/vit_tiny_patch16_224", 3, head="class_heads", head_options={"width": 8})
    grid = create_model("timm/resnet18", 3, head="class_heads", head_options={"width": 8})
    assert tokens.head.branches[0][0].kernel_size == (1, 1)
    assert grid.head.branches[0][0].kernel_size == (3, 3)


def test_options_reach_backbone_and_head() -> None:
    model = create_model(
        "tripath",
        4,
        head="csba",
        head_options={"branches": 2, "dropout": 0.1, "reduction": 16},
        backbone_options={"slope": 0.2, "stem_filters": 16},
    )
    assert len(model.head.branches) == 2
    assert model.head.dropout == 0.1
    assert model.head.branches[0].squeeze.weight.shape == (48, 768)
    assert model.backbone.stage1.fire1.act.negative_slope == 0.2
    assert model.backbone.stem.conv.out_channels == 16


def test_seeds_reproduce_models() -> None:
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(from_the_top("resnet32", 4, head="csba").state_dict())
    first, again, other = states
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["head.branches.0.classify.weight"], other["head.branches.0.classify.weight"])


def test_image_size_runs_the_check() -> None:
    with pytest.warns(UserWarning, match="final map of 2 x 2"):
        create_model("tripath", 4, image_size=(8, 8))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "tripaht"}, "'tripaht'; did you mean 'tripath'"),
        ({"name": "unheard"}, "choose from tripath, .*resnet32, wrn28_10, .*ft_transformer .or timm/"),
        ({"name": "timm/resnet81"}, "did you mean"),
        ({"head": "csab"}, "did you mean 'csba'"),
        ({"num_classes": 1}, "num_classes must be in"),
        ({"pretrained": True}, "pretrained must be False for 'tripath'"),
        (
            {"head": "csba", "head_options": {"dropuot": 0.1}},
            "options of CSBA, got 'dropuot'; did you mean 'dropout'",
        ),
        ({"head_options": {"dropout": 0.1}}, "options of Linear, got 'dropout'; it takes none"),
        ({"backbone_options": {"slop": 0.1}}, "did you mean 'slope'"),
        ({"name": "resnet32", "backbone_options": {"x": 1}}, "it takes none"),
        ({"head": "csba", "head_options": {"dropout": 1.5}}, "dropout must be in"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        create_model(**{"num_classes": 4, **arguments})


@pytest.mark.parametrize("head", head_names())
def test_every_head_compiles_in_one_graph(head: str) -> None:
    torch.compiler.reset()
    options = {"width": 4} if head == "class_heads" else {}
    model = create_model("resnet32", 4, head=head, head_options=options).eval()
    images = torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        compiled = torch.compile(model, backend="eager", fullgraph=True)(images)
        torch.testing.assert_close(compiled, model(images))
