"""What a step minimises: the plain loss, a second loss beside it, two branches."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.engine import (
    Auxiliary,
    Examples,
    Learner,
    joint_objective,
    supervised_step,
    two_branch_objective,
)
from tailgrad.engine.learner import plain_objective
from tailgrad.heads import Linear
from tailgrad.losses import CrossEntropyLoss, NTXentLoss, RIDELoss
from tailgrad.models import BBN, CifarResNet, Classifier, create_model
from tailgrad.types import Batch


class _Net(nn.Module):
    """A classifier with features, small enough for exact comparisons."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(12, 5), nn.Linear(5, 3)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(images.flatten(1)).relu())
        return logits

    def outputs(self, images: Tensor) -> Any:
        from tailgrad.types import Output

        features = self.body(images.flatten(1)).relu()
        return Output(self.head(features), features)


def _learner(loss: nn.Module) -> Learner:
    torch.manual_seed(0)
    learner = Learner.plain(_Net(), loss, lr=0.1)
    learner.model.mark_forward_method("outputs")  # type: ignore[operator]  # Fabric's wrapper
    return learner


def _examples(views: bool = False) -> Examples:
    torch.manual_seed(1)
    labels = torch.tensor([0, 1, 2, 1])
    return Examples(torch.randn(4, 3, 2, 2), labels, labels, torch.randn(2, 4, 3, 2, 2) if views else None)


def test_both_losses_are_added_and_the_second_sees_projected_views() -> None:
    loss, projector = CrossEntropyLoss(), nn.Linear(5, 2)
    loss.add_module("auxiliary", Auxiliary(NTXentLoss(temperature=0.5), 0.3, projector))
    learner, examples = _learner(loss), _examples(views=True)
    net, views = learner.network, examples.views
    assert views is not None
    projected = torch.stack([projector(net.outputs(view).features) for view in views])  # type: ignore[operator]
    expected = F.cross_entropy(net(examples.images), examples.target)
    expected = expected + 0.3 * NTXentLoss(temperature=0.5)(projected, examples.labels)
    torch.testing.assert_close(joint_objective(learner, examples), expected)


def test_added_to_every_example_the_mean_is_the_sum_of_both() -> None:
    values = []
    for reduction in ("none", "mean"):
        loss = CrossEntropyLoss(reduction=reduction)
        loss.add_module("auxiliary", Auxiliary(NTXentLoss(), 0.7))
        values.append(joint_objective(_learner(loss), _examples(views=True)))
    assert values[0].shape == (4,)
    torch.testing.assert_close(values[0].mean(), values[1])


def test_without_views_the_second_loss_takes_the_features_of_the_images() -> None:
    class Norm(nn.Module):
        def forward(self, features: Tensor, labels: Tensor) -> Tensor:
            assert features.shape == (4, 5)
            return features.square().mean() + 0 * labels.sum()

    loss = CrossEntropyLoss()
    loss.add_module("auxiliary", Auxiliary(Norm(), 2.0, on_views=False))
    learner, examples = _learner(loss), _examples()
    features = learner.network.outputs(examples.images).features  # type: ignore[operator]
    expected = plain_objective(learner, examples) + 2 * features.square().mean()
    torch.testing.assert_close(joint_objective(learner, examples), expected)


def test_a_loss_without_a_second_one_and_a_negative_weight_are_refused() -> None:
    with pytest.raises(InputError, match="Auxiliary"):
        joint_objective(_learner(CrossEntropyLoss()), _examples())
    with pytest.raises(InputError, match=r"auxiliary.weight .* -0.5"):
        Auxiliary(NTXentLoss(), -0.5)


@pytest.mark.parametrize(("epoch", "weight"), [(1, 1.0), (101, 0.75), (200, 0.009975)])
def test_two_branches_are_weighted_by_the_epoch(epoch: int, weight: float) -> None:
    torch.manual_seed(0)
    model = BBN(lambda: CifarResNet(blocks=1), lambda backbone: Linear(backbone.pooled, 3)).eval()
    learner = Learner.plain(model, CrossEntropyLoss(), lr=0.1)
    learner.model.mark_forward_method("mixed")  # type: ignore[operator]  # Fabric's wrapper
    learner.epoch, learner.epochs = epoch, 200
    images, labels = torch.randn(2, 3, 32, 32), torch.tensor([0, 1])
    others, rare = torch.randn(2, 3, 32, 32), torch.tensor([2, 2])
    examples = Examples(images, labels, labels, partner=(others, rare))
    logits = model.mixed(images, others, weight)
    expected = weight * F.cross_entropy(logits, labels) + (1 - weight) * F.cross_entropy(logits, rare)
    torch.testing.assert_close(two_branch_objective(learner, examples), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="partner"):
        two_branch_objective(learner, Examples(images, labels, labels))


# What a learner makes of a batch


def _batch() -> Batch:
    torch.manual_seed(2)
    images = torch.randint(256, (4, 3, 2, 2), dtype=torch.uint8)
    partner = Batch(images.flip(0), torch.tensor([2, 2, 1, 0]), torch.arange(4))
    return Batch(images, torch.tensor([0, 1, 2, 1]), torch.arange(4), partner)


def test_bytes_are_changed_before_they_are_prepared_and_images_after() -> None:
    learner, seen = _learner(CrossEntropyLoss()), []
    learner.augment_bytes = lambda x: (seen.append(x.dtype), 255 - x)[1]
    learner.augment = lambda x: (seen.append(x.dtype), 2 * x)[1]
    learner.prepare = lambda x: x.float() / 255
    examples = learner.examples(Batch(_batch().inputs, _batch().target, _batch().index))
    assert seen == [torch.uint8, torch.float32]
    torch.testing.assert_close(examples.images, 2 * (255 - _batch().inputs.float()) / 255)
    assert examples.partner is None
    assert examples.target is examples.labels


def test_mixing_changes_images_and_target_and_keeps_the_labels() -> None:
    learner, given = _learner(CrossEntropyLoss()), []

    def mix(images: Tensor, target: Tensor, partner: Any = None) -> tuple[Tensor, Tensor]:
        given.append(partner)
        return images / 2, F.one_hot(target, 3).float()

    learner.mix = mix
    examples = learner.examples(_batch())
    assert torch.equal(given[0][1], torch.tensor([2, 2, 1, 0]))
    assert examples.target.shape == (4, 3)
    assert torch.equal(examples.labels, _batch().target)


def test_views_are_made_from_the_stored_bytes_and_prepared() -> None:
    learner = _learner(CrossEntropyLoss())
    learner.prepare = lambda x: x.float() / 255
    learner.augment = lambda x: x + 100
    learner.views = lambda x: torch.stack([x, x.flip(-1)])
    views = learner.examples(_batch()).views
    assert views is not None
    torch.testing.assert_close(views[1], _batch().inputs.flip(-1).float() / 255)


def test_an_epoch_is_told_to_everything_that_has_one_and_still_modules_stay_so() -> None:
    class Told(CrossEntropyLoss):
        def set_epoch(self, epoch: int) -> None:
            self.told = epoch

    loss, carried = Told(), Told()
    loss.add_module("second", carried)
    learner = _learner(loss)
    learner.still = (learner.network.body,)
    learner.start_epoch(3, 7)
    assert (loss.told, carried.told, learner.epoch, learner.epochs) == (3, 3, 3, 7)
    assert learner.network.head.training
    assert not learner.network.body.training


def test_running_the_network_directly_gives_the_same_gradients() -> None:
    learner, examples = _learner(CrossEntropyLoss()), _examples()
    plain_objective(learner.direct(), examples).backward()
    direct = [p.grad.clone() for p in learner.network.parameters() if p.grad is not None]
    before = copy.deepcopy(learner.network.state_dict())
    batch = Batch(examples.images, examples.target, torch.arange(4))
    supervised_step(learner, batch)
    after = learner.network.state_dict()
    for gradient, (name, value) in zip(direct, before.items(), strict=True):
        torch.testing.assert_close(after[name], value - 0.1 * gradient)


def test_joint_training_works_on_a_real_classifier() -> None:
    loss = CrossEntropyLoss()
    loss.add_module("auxiliary", Auxiliary(NTXentLoss(), 1.0))
    model = create_model("resnet32", 3)
    assert isinstance(model, Classifier)
    learner = Learner.plain(model, loss, lr=0.1)
    learner.model.mark_forward_method("outputs")  # type: ignore[operator]  # Fabric's wrapper
    learner.objective = joint_objective
    learner.views = lambda x: torch.stack([x, x.flip(-1)])
    images = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8)
    value = supervised_step(learner, Batch(images, torch.tensor([0, 2]), torch.arange(2)))
    assert torch.isfinite(value)


@pytest.mark.parametrize("weights", ["none", "inverse"])
def test_one_loss_an_example_has_the_mean_of_a_loss_of_experts(weights: str) -> None:
    options = {"weights": weights, "normalizer": "weights"}
    mean, each = (
        RIDELoss([100, 10, 1], base_options=options, factor=0.5, reduction=reduction).double()
        for reduction in ("mean", "none")
    )
    experts = 4 * torch.randn(3, 6, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    target = torch.tensor([0, 1, 2, 0, 0, 1])
    learner = Learner.plain(nn.Linear(1, 1), each, lr=0.1)
    found = learner.loss_at(experts, target)
    assert found.shape == (6,)
    torch.testing.assert_close(found.mean(), mean(experts, target))
