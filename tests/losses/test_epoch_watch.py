"""A loss that changes with the epoch and is never told one says so, once, and only where it trains."""

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tailgrad.losses import (
    AnyLoss,
    ClassConditionalSmoothing,
    CrossEntropyLoss,
    FocalLoss,
    LabelAwareSmoothing,
    LDAMLoss,
    RIDELoss,
    frozen,
)
from tailgrad.optim import SAM

COUNTS = [8, 3, 1]
WEIGHTED = [CrossEntropyLoss, FocalLoss, LDAMLoss, LabelAwareSmoothing, ClassConditionalSmoothing]
Y = torch.repeat_interleave(torch.arange(3), torch.tensor(COUNTS))
X = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))


def _epoch() -> Iterator[tuple[Tensor, Tensor]]:
    yield from zip(X.split(4), Y.split(4), strict=True)


def _deferred(made: Any, **options: Any) -> nn.Module:
    return made(COUNTS, weights="effective", defer=2, **options)


@pytest.mark.parametrize("made", WEIGHTED)
def test_the_second_epoch_warns_once_and_names_the_remedy(made: Any) -> None:
    loss = _deferred(made)
    for batch in _epoch():
        loss(*batch)
    with pytest.warns(UserWarning, match=rf"{made.__name__} .*deferred by 2 .* never apply; call set_epoch"):
        loss(X, Y)
    for batch in _epoch():
        loss(*batch)


@pytest.mark.parametrize("made", WEIGHTED)
def test_one_that_is_told_is_quiet(made: Any) -> None:
    loss = _deferred(made)
    for epoch in range(1, 5):
        loss.set_epoch(epoch)
        for batch in _epoch():
            loss(*batch)


@pytest.mark.parametrize("told", [False, True])
def test_experts_see_an_epoch_once(told: bool) -> None:
    loss = RIDELoss(COUNTS, base_options={"weights": "effective", "defer": 2})
    for x, y in _epoch():
        loss(x.expand(3, -1, -1), y)
    if told:
        loss.set_epoch(1)
        loss(X.expand(3, -1, -1), Y)
        return
    with pytest.warns(UserWarning, match="never apply; call set_epoch"):
        loss(X[:4].expand(3, -1, -1), Y[:4])


def test_one_that_is_told_after_its_first_epoch_is_quiet() -> None:
    loss = _deferred(CrossEntropyLoss)
    for epoch in range(1, 4):
        for batch in _epoch():
            loss(*batch)
        loss.set_epoch(epoch + 1)


def test_nothing_is_asked_of_a_loss_without_schedule() -> None:
    for loss in (CrossEntropyLoss(COUNTS, weights="effective"), AnyLoss(COUNTS)):
        for _ in range(5):
            loss(X, Y)


def test_validation_and_passes_that_do_not_count_are_no_epochs() -> None:
    loss = _deferred(CrossEntropyLoss)
    for _ in range(3):
        with torch.no_grad():
            loss(X, Y)
        with frozen(loss):
            loss(X, Y)
    loss.eval()
    loss(X, Y)
    loss(X, Y)


def test_the_second_pass_of_a_sharp_step_is_no_second_epoch() -> None:
    loss, net = _deferred(CrossEntropyLoss, reduction="none"), nn.Linear(3, 3)
    optimizer = SAM(net, torch.optim.SGD(net.parameters(), lr=0.1))
    for x, y in _epoch():
        optimizer.step(lambda x=x, y=y: (loss(net(x), y), y))


def test_without_counts_the_first_batch_warns() -> None:
    loss = CrossEntropyLoss(weights=[1.0, 2.0, 3.0], defer=2)
    with pytest.warns(UserWarning, match="never told"):
        loss(X, Y)


def test_annealing_warns_as_well() -> None:
    loss = AnyLoss(COUNTS, anneal_epochs=3)
    loss(X, Y)
    with pytest.warns(UserWarning, match=r"AnyLoss .* steepness stays at 5\.0; call set_epoch"):
        loss(X, Y)
    told = AnyLoss(COUNTS, anneal_epochs=3)
    told.set_epoch(1)
    told(X, Y)
    told(X, Y)


def test_the_warning_points_at_the_line_that_called_the_loss() -> None:
    loss = _deferred(CrossEntropyLoss)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loss(X, Y)
        loss(X, Y)
    assert [w.filename for w in caught] == [__file__]
