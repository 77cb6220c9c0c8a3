"""The variants against brute force, their worked numbers, and what each turns into at its limits."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.optim import SGD

from tailgrad.checks import InputError
from tailgrad.losses import DotRegressionLoss, RIDELoss
from tailgrad.models import create_model
from tailgrad.optim import CCSAM, SAM, AsymmetricSAM, ConflictSAM, FocalSAM, ImbSAM
from tailgrad.optim.asymmetric_sam import VARIANTS, passes

X = torch.randn(12, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.tensor([0, 0, 1, 0, 0, 2, 0, 0, 1, 1, 0, 2])
COUNTS = [50, 20, 5]
CIFAR = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
RHO = 0.3
PER_CLASS = ("per_class", "cc_sam")


class _Net(nn.Module):
    """BatchNorm couples the examples, in the head too; dropout must repeat."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.3))
        self.head = nn.Sequential(nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 3))
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.backbone(x))
        return result


def _made(net: nn.Module, variant: str, rho: float = RHO, options: dict[str, Any] | None = None) -> SAM:
    made = AsymmetricSAM(
        net, SGD(net.parameters(), lr=0.0), COUNTS, rho=rho, variant=variant, options=options
    )
    if isinstance(made.rule, ConflictSAM):
        made.rule.follow([0.1, 0.0, 0.2])
    return made


def _found(
    variant: str, rho: float = RHO, options: dict[str, Any] | None = None, keep: Sequence[int] = (0, 1, 2)
) -> Tensor:
    """The gradient handed to the base optimiser, for a batch of the classes kept."""
    net = _Net()
    rows = torch.isin(Y, torch.tensor(keep))
    optimizer = _made(net, variant, rho, options)
    torch.manual_seed(7)
    optimizer.step(lambda: (F.cross_entropy(net(X[rows]), Y[rows], reduction="none"), Y[rows]))
    return torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])


# Brute force: every gradient by its own whole pass over a copy


def _gradient(net: nn.Module, weights: Sequence[float], moved: dict[str, Tensor] | None = None) -> Any:
    """``grad sum_i a(y_i) loss_i / N`` at the weights plus ``moved``."""
    at = {n: (p + (moved or {}).get(n, 0)).detach().requires_grad_() for n, p in net.named_parameters()}
    torch.manual_seed(7)
    logits = functional_call(net, {**at, **{n: b.clone() for n, b in net.named_buffers()}}, (X,))
    share = torch.tensor(weights, dtype=torch.float64)[Y] / len(Y)
    value = (share * F.cross_entropy(logits, Y, reduction="none")).sum()
    return dict(zip(at, torch.autograd.grad(value, list(at.values())), strict=True))


def _norm(g: dict[str, Tensor]) -> Tensor:
    return torch.cat([v.flatten() for v in g.values()]).norm()


def _times(g: dict[str, Tensor], factor: Any) -> dict[str, Tensor]:
    return {n: v * factor for n, v in g.items()}


def _plus(*parts: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n: sum(part[n] for part in parts) for n in parts[0]}  # type: ignore[misc]


def _one(c: int) -> list[float]:
    return [float(c == k) for k in range(3)]


def _sam(net: nn.Module) -> Any:
    g = _gradient(net, [1, 1, 1])
    return _gradient(net, [1, 1, 1], _times(g, RHO / _norm(g)))


def _direction(net: nn.Module) -> Any:
    g = _gradient(net, [1, 2.5, 10])
    return _gradient(net, [1, 1, 1], _times(g, RHO / _norm(g)))


def _conflict(net: nn.Module) -> Any:
    # 0.1 + 0.9 * 3 e / 0.3
    g = _gradient(net, [1.0, 0.1, 1.9])
    return _gradient(net, [1, 1, 1], _times(g, RHO / _norm(g)))


def _scaled(net: nn.Module) -> Any:
    parts = [_times(_gradient(net, _one(c)), s) for c, s in enumerate([1, 2.5, 10])]
    return _gradient(net, [1, 1, 1], _times(_plus(*parts), RHO / _norm(_gradient(net, [1, 1, 1]))))


def _per_class(net: nn.Module) -> Any:
    parts = []
    for c in range(3):
        g = _gradient(net, _one(c))
        parts.append(_gradient(net, _one(c), _times(g, RHO / _norm(g))))
    return _plus(*parts)


def _imbsam(net: nn.Module) -> Any:
    tail = _gradient(net, [0, 0, 2])
    return _plus(_gradient(net, [1, 1, 0]), _gradient(net, [0, 0, 2], _times(tail, RHO / _norm(tail))))


def _focal(net: nn.Module) -> Any:
    a = [0.5 * (1 - n / 75) ** 3 for n in COUNTS]
    g = _gradient(net, a)
    return _plus(_gradient(net, [1 - v for v in a]), _gradient(net, a, _times(g, RHO / _norm(g))))


def _cc(net: nn.Module) -> Any:
    theta = {n: p for n, p in net.named_parameters() if n.startswith("head.")}
    d = sum(p.numel() for p in theta.values())
    parts = [_times(_gradient(net, [1, 1, 1]), 0.7)]
    for c in range(3):
        g = {n: v * 12 / int((c == Y).sum()) for n, v in _gradient(net, _one(c)).items() if n in theta}
        r = RHO * _norm(theta).sqrt() / _norm(g).sqrt() / 2**0.5 / (COUNTS[c] - 1) ** 0.25 / d**0.25 * d**0.5
        parts.append(_times(_gradient(net, _one(c), _times(g, r / _norm(g))), 0.3))
    return _plus(*parts)


BRUTE: dict[str, Callable[[nn.Module], Any]] = {
    "sam": _sam,
    "direction": _direction,
    "scaled": _scaled,
    "per_class": _per_class,
    "imbsam": _imbsam,
    "cc_sam": _cc,
    "focal_sam": _focal,
    "conflict_sam": _conflict,
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_update_is_the_formula_and_nothing_else_moves(variant: str) -> None:
    net, plain = _Net(), _Net()
    optimizer = _made(net, variant)
    before = [p.clone() for p in net.parameters()]
    torch.manual_seed(7)
    loss = optimizer.step(lambda: (F.cross_entropy(net(X), Y, reduction="none"), Y))
    drawn = torch.rand(3)
    torch.manual_seed(7)
    expected_loss = F.cross_entropy(plain(X), Y)
    assert torch.equal(drawn, torch.rand(3))  # random numbers go on as after one pass
    torch.testing.assert_close(loss, expected_loss.detach())
    for name, p in net.named_parameters():
        torch.testing.assert_close(p.grad, BRUTE[variant](_Net())[name], rtol=1e-9, atol=1e-12)
    assert all(torch.equal(p, was) for p, was in zip(net.parameters(), before, strict=True))
    for (name, buffer), other in zip(net.named_buffers(), plain.buffers(), strict=True):
        assert torch.equal(buffer, other), name


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_costs_the_passes_it_states(variant: str) -> None:
    net = _Net()
    forward, backward = [], []

    def closure() -> tuple[Tensor, Tensor]:
        features = net.backbone(X)
        features.register_hook(backward.append)  # not reached where only the classifier is differentiated
        forward.append(features)
        return F.cross_entropy(net.head(features), Y, reduction="none"), Y

    _made(net, variant).step(closure)
    assert (len(forward) + 2 * len(backward)) / 3 == pytest.approx(passes(variant, 3))
    assert passes(variant, 3) <= {"sam": 2.1, "direction": 2.1, "cc_sam": 2.1, "per_class": 5.4}.get(
        variant, 2.8
    )


# Worked numbers


@pytest.mark.parametrize(
    ("variant", "moved"),
    [
        ("sam", [(0.049752, 0.004975)]),
        ("direction", [(0.035355, 0.035355)]),
        ("scaled", [(0.049752, 0.049752)]),
        ("per_class", [(0.05, 0.0), (0.0, 0.05)]),
    ],
)
def test_the_example_of_two_classes(variant: str, moved: list[tuple[float, float]]) -> None:
    layer = nn.Linear(2, 1, bias=False).double()
    nn.init.zeros_(layer.weight)
    seen = []

    def closure() -> tuple[Tensor, Tensor]:
        seen.append(layer.weight.detach().clone().flatten().tolist())
        w = layer.weight.flatten()
        return torch.stack([2 * w[0], 0.2 * w[1]]), torch.tensor([0, 1])  # g_A = (1, 0), g_B = (0, 0.1)

    AsymmetricSAM(layer, SGD(layer.parameters(), lr=1.0), [10, 1], variant=variant).step(closure)
    for found, expected in zip(seen, [(0.0, 0.0), *moved], strict=True):
        assert found == pytest.approx(expected, abs=1e-6)
    assert layer.weight.flatten().tolist() == pytest.approx([-1.0, -0.1])


def test_the_coefficients_of_focal_sam_for_cifar_10() -> None:
    expected = [0.1064, 0.2181, 0.3128, 0.3808, 0.4260, 0.4547, 0.4725, 0.4834, 0.4900, 0.4940]
    assert FocalSAM(CIFAR).shares.tolist() == pytest.approx(expected, abs=5e-5)


def test_the_radii_of_cc_sam() -> None:
    rule = CCSAM([5000, 500, 50, 1], nn.Linear(2, 4))
    radii = [rule.radius(c, gradient=0.5, theta=1.0, size=1, rho=1.0) for c in range(4)]
    assert radii == pytest.approx([0.1189, 0.2116, 0.3780, 1.0], abs=5e-5)
    assert rule.radius(0, gradient=0.0, theta=1.0, size=1, rho=1.0) < float("inf")


def test_published_radii_are_the_defaults() -> None:
    net = _Net()
    found = {name: AsymmetricSAM(net, SGD(net.parameters()), COUNTS, variant=name).rho for name in VARIANTS}
    assert found == dict.fromkeys(VARIANTS, 0.05) | {"focal_sam": 0.2, "cc_sam": 1e-6}


# Limits


@pytest.mark.parametrize(
    ("variant", "options", "keep"),
    [
        ("direction", {"weights": [3, 3, 3]}, (0, 1, 2)),
        ("scaled", {"scales": [1, 1, 1]}, (0, 1, 2)),
        ("focal_sam", {"lam": 1.0, "gamma": 0.0}, (0, 1, 2)),
        ("scaled", {"scales": [1, 1, 9]}, (0, 1)),  # no minority in the batch
        *[(variant, {}, (0,)) for variant in ("direction", "scaled", "per_class")],  # one class in the batch
        ("per_class", {}, (2,)),
    ],
)
def test_what_reduces_to_sam(variant: str, options: dict[str, Any], keep: tuple[int, ...]) -> None:
    torch.testing.assert_close(_found(variant, options=options, keep=keep), _found("sam", keep=keep))


@pytest.mark.parametrize(
    ("variant", "options", "same", "factor", "rho"),
    [
        ("scaled", {"scales": [2, 2, 2]}, "sam", 1, 2 * RHO),
        ("imbsam", {"eta": 1000}, "sam", 2, RHO),
        ("focal_sam", {"lam": 0.0}, "sam", 1, 0.0),
        ("cc_sam", {"share": 0.0}, "sam", 1, 0.0),
        ("direction", {"weights": [2, 4, 6]}, "direction", 1, RHO),
    ],
)
def test_what_reduces_to_others(
    variant: str, options: dict[str, Any], same: str, factor: float, rho: float
) -> None:
    other = {"weights": [1, 2, 3]} if same == "direction" else None
    expected = factor * _found(same, rho=rho, options=other)
    torch.testing.assert_close(_found(variant, options=options), expected)


def test_without_minority_the_direction_still_leans() -> None:
    assert (_found("direction", keep=(0, 1)) - _found("sam", keep=(0, 1))).norm() > 1e-4


def test_a_batch_without_tail_is_one_plain_pass() -> None:
    torch.testing.assert_close(
        _found("imbsam", keep=(0, 1)), _found("sam", rho=0.0, keep=(0, 1)), rtol=0, atol=0
    )
    net, calls = _Net(), []
    optimizer = _made(net, "imbsam")
    optimizer.step(lambda: (calls.append(1) or F.cross_entropy(net(X), Y * 0, reduction="none"), Y * 0))
    assert len(calls) == 1


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_smaller_the_radius_the_nearer_the_plain_gradient(variant: str) -> None:
    limit = _found(variant, rho=0.0)
    near, far = ((_found(variant, rho=rho) - limit).norm() for rho in (1e-4, 1e-2))
    assert near < 0.02 * far < 0.02 * limit.norm()


def test_cc_sam_moves_nothing_but_the_classifier_and_leaves_no_hook() -> None:
    net, seen = _Net(), []
    optimizer = _made(net, "cc_sam", rho=10.0)

    def closure() -> tuple[Tensor, Tensor]:
        seen.append([p.clone() for p in net.parameters()])
        return F.cross_entropy(net(X), Y, reduction="none"), Y

    optimizer.step(closure)
    assert len(seen) == 2
    assert all(torch.equal(a, b) for a, b in zip(*seen, strict=True))
    assert not net.head._forward_hooks
    assert not net.head._forward_pre_hooks


def test_cc_sam_of_experts_is_the_gradient_with_each_class_moved() -> None:
    images, target = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0)), Y[1:7] // 2
    torch.manual_seed(0)
    model = create_model(
        "resnet32", 2, architecture="multi_expert", architecture_options={"experts": 2}
    ).double()
    heads, images = model.head, images.double()
    theta, values = dict(heads.named_parameters()), {n: p.detach() for n, p in heads.named_parameters()}
    criterion = RIDELoss([4, 2], reduction="none").double()
    base = SGD(model.parameters(), lr=0.0)
    optimizer = AsymmetricSAM(model, base, [4, 2], rho=3.0, variant="cc_sam", options={"share": 1.0})
    optimizer.step(lambda: (criterion(model.outputs(images).experts, target), target))
    features = model.backbone.pool(model.features(images)).detach()

    def of_class(label: int, moved: dict[str, Tensor]) -> dict[str, Tensor]:
        experts = functional_call(heads, moved, (features,), {"apart": True}).transpose(0, 1)
        value = criterion(experts, target)[target == label].mean()
        return dict(zip(theta, torch.autograd.grad(value, list(theta.values())), strict=True))

    expected = []
    for label, share in ((0, 5 / 6), (1, 1 / 6)):
        g, size = of_class(label, theta), sum(p.numel() for p in theta.values())
        lengths = {"gradient": float(_norm(g)), "theta": float(_norm(values))}
        radius = optimizer.rule.radius(label, size=size, rho=3.0, **lengths)
        moved = _plus(theta, _times(g, radius / lengths["gradient"]))
        expected.append(_times(of_class(label, moved), share))
    for name, value in _plus(*expected).items():
        torch.testing.assert_close(theta[name].grad, value)


# Bad input


@pytest.mark.parametrize(
    ("variant", "counts", "options", "words"),
    [
        ("directon", COUNTS, {}, "variant must be a known name, got 'directon'; did you mean 'direction'"),
        ("direction", None, {}, "class_counts must hold one count a class for variant='direction', got None"),
        ("direction", [5, 0], {}, r"class_counts\[1\]=0"),
        ("direction", COUNTS, {"weights": [1, 2]}, "weights must hold 3 numbers, .* got 2"),
        ("scaled", COUNTS, {"scales": [1, 2, -1]}, r"scales\[2\] must be in \(0, inf\), got -1"),
        ("scaled", COUNTS, {"scale": [1, 2, 3]}, "must be known, got 'scale'; did you mean 'scales'"),
        ("sam", None, {"eta": 3}, "options of sam must be known, got 'eta'; it takes none"),
        ("imbsam", COUNTS, {"class_counts": [1]}, "must be known, got 'class_counts'"),
        ("imbsam", COUNTS, {"eta": -1}, "eta must be in"),
        ("imbsam", COUNTS, {"eta": 5}, "eta must be above the smallest of class_counts, 5, got 5"),
        ("focal_sam", COUNTS, {"lam": 1.5}, r"lam must be in \[0, 1\], got 1.5"),
        ("focal_sam", COUNTS, {"gamma": -1.0}, "gamma must be in"),
        ("cc_sam", COUNTS, {"share": 2.0}, "share must be in"),
        ("cc_sam", COUNTS, {"classifier": nn.ReLU()}, r"classifier must be a module .*, got ReLU\(\)"),
    ],
)
def test_unknown_and_impossible_options(variant: str, counts: Any, options: Any, words: str) -> None:
    net = _Net()
    with pytest.raises(InputError, match=words):
        AsymmetricSAM(net, SGD(net.parameters()), counts, variant=variant, options=options)


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v != "sam"])
def test_class_variants_need_class_indices_within_the_counts(variant: str) -> None:
    net = _Net()
    optimizer = _made(net, variant)
    for target, words in (
        (F.one_hot(Y, 3).double(), 'switch mixing off, or use variant "sam"'),
        (Y.double(), "target must be class indices"),
        (Y + 1, r"target must be in 0..2, got target\[5\]=3"),
    ):
        with pytest.raises(InputError, match=words):
            optimizer.step(lambda t=target: (F.cross_entropy(net(X), Y, reduction="none"), t))


def test_a_classifier_that_does_not_fit() -> None:
    bare = nn.Sequential(nn.Linear(5, 3))
    with pytest.raises(InputError, match="classifier must be a module with parameters, got None"):
        AsymmetricSAM(bare, SGD(bare.parameters()), COUNTS, variant="cc_sam")
    net = _Net()
    for classifier, words in (
        (nn.Linear(2, 3), "classifier must have parameters that base_optimizer trains, got Linear"),
        (net.backbone[0], "one row for each of 12 examples, got"),
    ):
        optimizer = _made(net, "cc_sam", options={"classifier": classifier})
        with pytest.raises(InputError, match=words):
            optimizer.step(lambda: (F.cross_entropy(net(torch.cat([X, X]))[:12], Y, reduction="none"), Y))
        assert not net.backbone[0]._forward_hooks


def test_a_classifier_that_is_passed_by_is_refused() -> None:
    model = create_model("resnet32", 3, head="etf")
    criterion = DotRegressionLoss(vectors=model.head.vectors, reduction="none")
    optimizer = AsymmetricSAM(model, SGD(model.parameters(), lr=0.1), COUNTS, variant="cc_sam")
    images, before = torch.rand(4, 3, 32, 32), [p.clone() for p in model.parameters()]
    with pytest.raises(InputError, match="must run as a module in every pass, got ETF.* another variant"):
        optimizer.step(lambda: (criterion(model.outputs(images).features, Y[:4]), Y[:4]))
    assert all(map(torch.equal, model.parameters(), before))


def test_the_ledger_hears_of_doubled_losses() -> None:
    found = ImbSAM([100, 30, 10], eta=20).correction()
    assert found.kind == "weight"
    assert found.log_shift == pytest.approx([0, 0, 0.693147], abs=1e-6)
    assert [CCSAM(COUNTS, nn.Linear(2, 3)).correction(), FocalSAM(COUNTS).correction()] == [None, None]


def test_rules_are_given_to_sam_as_objects_too() -> None:
    net = _Net()
    by_object = SAM(net, SGD(net.parameters(), lr=0.0), RHO, rule=ImbSAM(COUNTS, eta=10))
    torch.manual_seed(7)
    by_object.step(lambda: (F.cross_entropy(net(X), Y, reduction="none"), Y))
    found = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
    assert torch.equal(found, _found("imbsam", options={"eta": 10}))


# Counts of another number of classes than the network has

FIRST = torch.zeros(12, dtype=torch.int64)


@pytest.mark.parametrize("variant", ["direction", "scaled", "per_class", "focal_sam", "conflict_sam"])
@pytest.mark.parametrize("counts", [COUNTS[:2], [*COUNTS, 3]])
@pytest.mark.parametrize("rho", [0.0, RHO])
def test_counts_of_another_number_of_classes_are_refused_at_the_first_step(
    variant: str, counts: list[int], rho: float
) -> None:
    net = _Net()
    optimizer = AsymmetricSAM(net, SGD(net.parameters(), lr=0.1), counts, rho=rho, variant=variant)
    before = [p.clone() for p in net.parameters()]
    words = rf"class_counts must hold one count for each of the model's 3 logits, got {len(counts)}; count"
    with pytest.raises(InputError, match=words):
        optimizer.step(lambda: (F.cross_entropy(net(X), FIRST, reduction="none"), FIRST))
    assert all(map(torch.equal, net.parameters(), before))
    assert not net._forward_hooks


def test_what_may_be_features_is_not_taken_for_logits() -> None:
    net = _Net()
    for model, parameters in ((net.backbone, net.parameters()), (nn.ModuleList([net]), net.parameters())):
        optimizer = AsymmetricSAM(model, SGD(parameters, lr=0.1), [*COUNTS, 3])
        optimizer.step(lambda: (F.cross_entropy(net(X), Y, reduction="none"), Y))


def test_counts_are_looked_at_under_compiled_code_without_a_trace_of_it() -> None:
    net = _Net()
    compiled = torch.compile(net, backend="eager")
    optimizer = AsymmetricSAM(net, SGD(net.parameters(), lr=0.1), COUNTS, variant="direction")
    for _ in range(3):
        optimizer.step(lambda: (F.cross_entropy(compiled(X), Y, reduction="none"), Y))
    assert optimizer.skipped == 0
    assert not net._forward_hooks
