"""The knob: what each of its values means, and what is refused."""

import pickle
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from tailgrad.checks import InputError
from tailgrad.integrations import choose_for
from tailgrad.losses import CrossEntropyLoss, FocalLoss
from tailgrad.recipes.components import components
from tailgrad.samplers import ClassBalancedSampler

COUNTS = [90, 9, 3]
TARGET = [0] * 90 + [1] * 9 + [2] * 3
FROM_THE_DATA = {"stratified": {"batch_size": 4}, "m_per_class": {"batch_size": 4}, "two_phase": {"phase": 1}}


def test_auto_shifts_logits_by_the_prior() -> None:
    chosen = choose_for(COUNTS, "auto", class_names=["ape", "bee", "cat"])
    logits, target = torch.randn(8, 3), torch.tensor([0, 1, 2, 0, 0, 1, 2, 2])
    assert chosen.loss is not None
    wanted = cross_entropy(logits + torch.tensor(COUNTS).log(), target)
    torch.testing.assert_close(chosen.loss(logits, target), wanted)
    assert chosen.sampler is None
    assert chosen.make_sampler(TARGET) is None
    assert "(90 of ape to 3 of cat): the loss is balanced_softmax" in chosen.text
    assert chosen.text.endswith("is corrected: prior 0.3333 for ape, 0.3333 for cat (uniform 0.3333).")
    assert chosen.ledger is not None
    assert chosen.ledger.prior == pytest.approx([1 / 3] * 3)


def test_auto_leaves_balanced_classes_alone_and_says_so() -> None:
    chosen = choose_for([10, 8], "auto")
    assert (chosen.loss, chosen.sampler) == (None, None)
    assert "nearly balanced" in chosen.text
    assert chosen.text.endswith("Nothing is changed.")


def test_none_looks_at_nothing() -> None:
    chosen = choose_for([0, -3], None)
    assert (chosen.loss, chosen.sampler, chosen.ledger) == (None, None, None)


def test_a_mapping_names_loss_and_sampler_with_their_options() -> None:
    knob = {
        "loss": {"name": "focal", "options": {"gamma": 1.5}},
        "sampler": {"name": "power", "options": {"power": 0.25}},
    }
    chosen = choose_for(COUNTS, knob)
    assert isinstance(chosen.loss, FocalLoss)
    assert chosen.loss.gamma == 1.5
    sampler = chosen.make_sampler(TARGET, seed=5)
    assert (type(sampler).__name__, sampler.power, sampler.seed) == ("PowerSampler", 0.25, 5)
    assert chosen.text.startswith("class_imbalance: the loss is focal; the sampler is power.")
    assert chosen.ledger is not None
    assert list(chosen.ledger.entries) == ["sampler power"]


@pytest.mark.parametrize("knob", [{"sampler": "class_balanced"}, {"sampler": "class_balanced", "loss": None}])
def test_a_sampler_alone_leaves_the_loss(knob: Any) -> None:
    chosen = choose_for(COUNTS, knob)
    assert chosen.loss is None
    assert "the loss stays as it is; the sampler is class_balanced" in chosen.text
    assert "The class prior is corrected" in chosen.text


@pytest.mark.parametrize("epoch", [0, 3])
def test_samplers_are_told_epochs_from_0(epoch: int) -> None:
    made = choose_for(COUNTS, {"sampler": "class_balanced"}).make_sampler(TARGET, seed=1)
    made.set_epoch(epoch)
    again = pickle.loads(pickle.dumps(made))
    again.set_epoch(epoch)
    plain = ClassBalancedSampler(TARGET, seed=1)
    plain.set_epoch(epoch + 1)
    assert list(made) == list(again) == list(plain)


@pytest.mark.parametrize("name", sorted(components("samplers")))
def test_every_sampler_can_be_named(name: str) -> None:
    part = {"name": name, "options": FROM_THE_DATA.get(name, {})}
    knob = {"sampler": part, "loss": "focal", "allow_double_correction": name == "reversed"}
    made = choose_for(COUNTS, knob, epochs=4).make_sampler(TARGET)
    assert (made is None) == (name == "instance")
    assert made is None or set(made) <= set(range(len(TARGET)))


@pytest.mark.parametrize("name", sorted(components("losses")))
def test_every_loss_is_made_or_refused(name: str) -> None:
    kind: Any = components("losses")[name]
    if kind.takes != "logits" or getattr(kind, "multi_label", False):
        with pytest.raises(
            InputError, match=r"class_imbalance\['loss'\] must (be a loss of logits|take one class)"
        ):
            choose_for(COUNTS, {"loss": name})
        return
    chosen = choose_for(COUNTS, {"loss": name, "allow_double_correction": True})
    assert isinstance(chosen.loss, kind)
    cosines = torch.tensor([[0.8, 0.5, 0.1], [0.2, 0.1, 0.6]], requires_grad=True)
    assert chosen.loss(cosines, torch.tensor([0, 2])).requires_grad


def test_a_share_of_the_training_becomes_epochs() -> None:
    weighted = {"name": "cross_entropy", "options": {"weights": "effective", "defer": 0.8}}
    chosen = choose_for(COUNTS, {"loss": weighted}, epochs=10)
    assert isinstance(chosen.loss, CrossEntropyLoss)
    chosen.set_epoch(8)
    assert not chosen.loss.weighting.active
    chosen.set_epoch(9)
    assert chosen.loss.weighting.active
    deferred = {"name": "deferred", "options": {"defer": 0.5}}
    assert choose_for(COUNTS, {"sampler": deferred}, epochs=10).make_sampler(TARGET).defer == 5
    choose_for(COUNTS, "auto").set_epoch(2)  # a loss without a schedule


def test_what_the_training_knows_is_filled_in() -> None:
    made = choose_for(COUNTS, {"sampler": "stratified"}, batch_size=6).make_sampler(TARGET)
    assert made.batch_size == 6
    assert choose_for(COUNTS, {"sampler": "progressive"}, epochs=7).make_sampler(TARGET).epochs == 7


def test_correcting_twice_is_refused_unless_it_is_meant() -> None:
    twice = {"loss": "balanced_softmax", "sampler": "class_balanced"}
    with pytest.raises(
        InputError, match="must be corrected once, got loss balanced_softmax [+] sampler class_b"
    ):
        choose_for(COUNTS, twice)
    chosen = choose_for(COUNTS, {**twice, "allow_double_correction": True})
    assert chosen.ledger is not None
    assert chosen.ledger.over_corrected
    assert "Over-corrected" in chosen.text
    half = {"name": "logit_adjusted", "options": {"tau": 0.5}}
    assert choose_for(COUNTS, {"loss": half, "sampler": "square_root"}).ledger is not None


@pytest.mark.parametrize(
    ("knob", "said"),
    [
        ({"loss": "balanced_sofmax"}, "did you mean 'balanced_softmax'?"),
        ({"sampler": "class_balance"}, "did you mean 'class_balanced'?"),
        ({"los": "focal"}, "key of class_imbalance must be a known name, got 'los'; did you mean 'loss'?"),
        (
            {"loss": {"name": "focal", "options": {"gama": 1}}},
            "gama is not an option of focal; did you mean 'gamma'",
        ),
        ({"loss": {"name": "focal", "gamma": 1}}, "must be a name or a mapping with name and options"),
        ({"loss": {"options": {}}}, "must be a name or a mapping with name and options"),
        ({"loss": 3}, "must be a name or a mapping with name and options, got 3"),
        ({"loss": "sup_con"}, "must be a loss of logits, got 'sup_con', which takes features"),
        ({"loss": "ride"}, "which takes experts"),
        (
            {"loss": "multi_label_asymmetric"},
            "must take one class an example.*MultiLabelAsymmetricLoss yourself",
        ),
        (
            {"loss": {"name": "focal", "options": {"reduction": "none"}}},
            "reduction must be 'mean', got 'none'",
        ),
        ({"sampler": {"name": "class_balanced", "options": {"rank": 0}}}, "must leave rank to the framework"),
        (
            {"sampler": {"name": "deferred", "options": {"defer": 0.8}}},
            "defer of deferred must be a number of epochs",
        ),
        ({"sampler": "progressive"}, "must fit progressive.*epochs"),
        ({}, "must name a loss or a sampler, got {}"),
        ({"sampler": "none", "loss": {"name": "none"}}, "must name a loss or a sampler"),
        ({"sampler": "reversed"}, "must be corrected once, got sampler reversed"),
        ("focal", "got 'focal'; write {'loss': 'focal'}"),
        ("class_balanced", "write {'sampler': 'class_balanced'}"),
        ("atuo", "did you mean 'auto'?"),
        (True, "must be 'auto', None or a mapping with loss or sampler, got True"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_remedy(knob: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        choose_for(COUNTS, knob)


@pytest.mark.parametrize("knob", ["auto", {"sampler": "class_balanced"}])
def test_classes_must_have_examples_and_company(knob: Any) -> None:
    with pytest.raises(InputError, match=r"class_counts\[1\]=0; drop the class or merge it"):
        choose_for([5, 0, 2], knob)
    with pytest.raises(InputError, match="two classes or more, got .7.; .*class_imbalance=None"):
        choose_for([7], knob)
