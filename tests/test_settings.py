"""What is printed of losses, samplers and optimisers says how they were built, and changes nothing else."""

import copy
import inspect
import pickle
import re
from typing import Any

import pytest
import torch
from torch import nn

from tailgrad import losses, optim, samplers
from tailgrad.interference import Monitor
from tailgrad.optim import AsymmetricSAM, ClassGradientOptimizer, GradNorm, MaxNorm, PCGrad
from tailgrad.settings import Settings, Shown

LOSSES = [getattr(losses, name) for name in losses.__all__ if inspect.isclass(getattr(losses, name))]
SAMPLERS = [
    getattr(samplers, name) for name in samplers.__all__ if name not in ("SelfPacedEnsemble", "resample")
]
NEEDED = {"epochs": 5, "phase": 2, "batch_size": 4, "m": 2}


@pytest.mark.parametrize("made", LOSSES)
def test_a_loss_shows_its_options(made: Any) -> None:
    options = {}
    if made is losses.DotRegressionLoss:
        options["vectors"] = torch.eye(3)
    if made is losses.DistributionBalancedLoss:
        options["num_samples"] = 60
    loss = made([50, 10, 5], **options)
    shown = loss.extra_repr()
    assert shown.startswith("class_counts=[50, 10, 5]")
    assert "reduction='mean'" in shown
    for name, parameter in inspect.signature(made).parameters.items():
        if isinstance(parameter.default, int | float | str) and name != "steepness":  # which is annealed
            assert f"{name}=" in shown
    assert repr(pickle.loads(pickle.dumps(loss))) == repr(copy.deepcopy(loss)) == repr(loss)
    assert issubclass(made, nn.Module)


@pytest.mark.parametrize("made", SAMPLERS)
def test_a_sampler_shows_its_options(made: Any) -> None:
    known = inspect.signature(made).parameters
    options = {name: value for name, value in NEEDED.items() if name in known}
    sampler = made([0] * 9 + [1] * 4, seed=7, **options)
    text = repr(sampler)
    assert text.startswith(f"{made.__name__}(target=<13 values>, ")
    assert all(f"{name}={value}" in text for name, value in {**options, "seed": 7}.items())


def test_optimisers_show_their_settings_and_those_they_wrap() -> None:
    net = nn.Linear(2, 3)
    base = torch.optim.SGD(net.parameters(), lr=0.125)
    sharp = AsymmetricSAM(net, base, [90, 9, 1], variant="focal_sam", options={"lam": 0.7})
    text = repr(sharp)
    assert "rho=0.2, rule=FocalSAM(class_counts=[90, 9, 1], lam=0.7, gamma=3)" in text
    assert "lr: 0.125" in text
    sharp.rho = 0.05
    assert "rho=0.05" in repr(sharp)
    assert repr(pickle.loads(pickle.dumps(sharp))) == repr(sharp)
    text = repr(ClassGradientOptimizer(net, base, GradNorm(3, alpha=2.0)))
    assert re.search(
        r"base_optimizer=SGD, combiner=GradNorm\(num_classes=3, alpha=2, .*lr: 0\.125", text, re.S
    )
    assert repr(PCGrad(seed=3)).startswith("PCGrad(seed=3")
    assert "weight=<3 values>" in repr(MaxNorm(net.weight.detach()))
    assert "Linear" in repr(Monitor(net, ["a", "b", "c"], every=5))
    assert "every=5" in repr(Monitor(net, 3, every=5))
    for name in optim.__all__:
        made = getattr(optim, name)
        assert not inspect.isclass(made) or issubclass(made, Settings), name


def test_the_signature_and_its_errors_stay() -> None:
    assert next(iter(inspect.signature(losses.DiceLoss).parameters)) == "class_counts"
    with pytest.raises(TypeError, match="unexpected keyword argument 'gama'"):
        losses.FocalLoss(gama=2)


def test_what_was_given_is_not_kept_alive() -> None:
    import gc
    import weakref

    class Holder(Shown):
        def __init__(self, values: Any) -> None:
            pass

    values = torch.zeros(100)
    seen = weakref.ref(values)
    holder = Holder(values)
    del values
    gc.collect()
    assert seen() is None
    assert repr(holder) == "Holder(values=<100 values>)"


def test_what_a_subclass_was_given_is_shown_not_what_it_passes_on() -> None:
    class Doubled(losses.FocalLoss):
        def __init__(self, factor: float) -> None:
            super().__init__(gamma=factor * 2)

    assert Doubled(1.5).extra_repr() == "factor=1.5"
