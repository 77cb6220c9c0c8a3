import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.heads import CSBA, Cosine, Linear
from tailgrad.interference import Monitor, measure
from tailgrad.losses import RIDELoss
from tailgrad.models import BBN, CifarResNet, MultiExpert, TimmBackbone, check_map, create_model

SMALL = partial(CifarResNet, blocks=1)
ONE = SMALL()
IMAGES = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
TARGET = torch.tensor([0, 1, 2, 0, 1, 2])


def _model(head: type[nn.Module] = Linear, **options: object) -> MultiExpert:
    torch.manual_seed(0)
    return MultiExpert(SMALL, lambda backbone: head(backbone.pooled, 3), **options)


@pytest.mark.parametrize("head", [Linear, Cosine, CSBA])
def test_logits_are_the_mean_of_the_experts(head: type[nn.Module]) -> None:
    model = _model(head).eval()
    out = model.outputs(IMAGES)
    assert out.experts.shape == (3, 6, 3)
    assert out.features.shape == (6, 3 * 64)
    torch.testing.assert_close(out.logits, out.experts.mean(0))
    torch.testing.assert_close(model(IMAGES), out.logits)


def test_every_expert_is_an_ordinary_classifier_of_its_own() -> None:
    model = _model().eval()
    plain, images = SMALL().eval(), IMAGES
    for e, (branch, head) in enumerate(zip(model.backbone.copies, model.head.heads, strict=True)):
        state = model.backbone.shared.state_dict() | branch.state_dict()
        plain.load_state_dict(state)
        torch.testing.assert_close(head(plain.pool(plain(images))), model.outputs(images).experts[e])


def test_experts_share_the_first_stages_and_own_weights_drawn_apart() -> None:
    model = _model()
    assert model.backbone.share_until == "stage1"
    assert {name.split(".")[0] for name, _ in model.named_parameters()} == {"backbone", "head"}
    assert {name.split(".")[0] for name, _ in model.backbone.shared.named_parameters()} == {"stem", "stage1"}
    for name, p in model.backbone.copies[0].named_parameters():
        assert name.split(".")[0] in {"stage2", "stage3"}
        if p.ndim > 1:
            other = model.backbone.copies[1].get_parameter(name).detach()
            assert not torch.equal(p, other)
            assert float(p.detach().std() / other.std()) == pytest.approx(1, rel=0.2)
    count = sum(p.numel() for p in SMALL().parameters())
    own = sum(p.numel() for p in model.backbone.copies[0].parameters())
    assert sum(p.numel() for p in model.backbone.parameters()) == count + 2 * own


def test_a_training_step_reaches_every_parameter() -> None:
    model = _model(Cosine)
    for _ in range(2):
        model.zero_grad()
        RIDELoss([5, 2, 1], base="ldam")(model.outputs(IMAGES).experts, TARGET).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    grads = [branch.stage3[0].conv1.weight.grad for branch in model.backbone.copies]
    assert not torch.equal(grads[0], grads[1])


def test_state_round_trips_and_copies_are_free() -> None:
    model, other = _model(share_until="stage2").eval(), _model(share_until="stage2").train()
    other(IMAGES)
    other.eval().load_state_dict(model.state_dict())
    assert torch.equal(model(IMAGES), other(IMAGES))
    clone = copy.deepcopy(model)
    with torch.no_grad():
        clone.backbone.shared.stem[0].weight.zero_()
    assert not torch.equal(clone(IMAGES), model(IMAGES))


def test_names_build_it_and_check_its_map() -> None:
    model = create_model("resnet32", 3, head="cosine", architecture="multi_expert", image_size=(32, 48))
    assert isinstance(model, MultiExpert)
    assert check_map(model, (64, 32)) == (16, 8)
    assert isinstance(create_model("resnet32", 3, architecture="bbn"), BBN)


@pytest.mark.parametrize("kind", [MultiExpert, BBN])
def test_instruments_find_the_backbone(kind: type) -> None:
    model = kind(SMALL, lambda backbone: Linear(backbone.pooled, 3))
    found = measure(model.eval(), [(IMAGES, TARGET)], folds=0)
    losses = F.cross_entropy(model(IMAGES), TARGET, reduction="none")
    inside = list(model.backbone.parameters())
    parts = [losses[k == TARGET].mean() for k in range(3)]
    rows = [torch.autograd.grad(part, inside, retain_graph=True) for part in parts]
    gradients = torch.stack([torch.cat([g.flatten() for g in row]) for row in rows]).double()
    expected = F.cosine_similarity(gradients[:, None], gradients[None], dim=2)
    torch.testing.assert_close(torch.from_numpy(found.conflict), expected, atol=1e-3, rtol=1e-3)


def test_a_monitor_follows_its_training() -> None:
    model = _model()
    monitor, optimizer = Monitor(model, 3, every=1), torch.optim.SGD(model.parameters(), lr=0.01)
    with monitor.watch(TARGET):
        F.cross_entropy(model(IMAGES), TARGET).backward()
        optimizer.step()
    record = monitor.records[0]
    assert list(record["count"].values()) == [2, 2, 2]
    assert all(norm > 0 for norm in record["norm"].values())


@pytest.mark.parametrize("head", ["linear", "csba"])
@pytest.mark.parametrize("name", ["timm/resnet10t", "timm/mobilenetv3_small_050"])
def test_timm_networks_train_without_unused_parameters(name: str, head: str) -> None:
    model = create_model(name, 3, head=head, architecture="multi_expert", architecture_options={"experts": 2})
    model.train()(IMAGES).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    assert model.backbone.net.pretrained_cfg["mean"] == TimmBackbone("resnet10t").net.pretrained_cfg["mean"]


def test_compiles_in_one_graph() -> None:
    torch.compiler.reset()
    model = _model().eval()
    with torch.no_grad():
        compiled = torch.compile(model, backend="eager", fullgraph=True)(IMAGES)
        torch.testing.assert_close(compiled, model(IMAGES))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"architecture": "multiexpert"}, "did you mean 'multi_expert'"),
        ({"architecture_options": {"experts": 2}}, "must be empty for 'single', got .'experts': 2"),
        ({"architecture": "bbn", "architecture_options": {"experts": 2}}, "options of BBN, got 'experts'"),
        ({"architecture": "multi_expert", "architecture_options": {"experts": 0}}, "branches must be in"),
        (
            {"architecture": "multi_expert", "architecture_options": {"share_until": "stage9"}},
            "got 'stage9'; did you mean 'stage",
        ),
        ({"name": "timm/vit_tiny_patch16_224", "architecture": "bbn"}, "must end a chain of layers"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        create_model(**{"name": "resnet32", "num_classes": 3, **arguments})


@pytest.mark.parametrize(
    ("make", "message"), [(ONE, "got CifarResNet"), (lambda: ONE, "the same CifarResNet twice")]
)
def test_backbones_must_be_new(make, message: str) -> None:
    with pytest.raises(InputError, match=f"make_backbone must .*{message}"):
        MultiExpert(make, lambda backbone: Linear(backbone.pooled, 3))
