"""A Lightning module around any network: its loss, its sampler, its log, its checkpoints."""

# ruff: noqa: ARG002 - the framework fixes the arguments of its hooks

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from tailgrad.checks import InputError
from tailgrad.integrations import LightningCallback, LightningClassifier
from tailgrad.integrations.recall_count import RecallCount
from tailgrad.samplers import ClassBalancedSampler

COUNTS = [15, 6, 3]
TARGET = [0] * 15 + [1] * 6 + [2] * 3
pytestmark = [
    pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*"),
]


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1)


def network() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(5, 3)


def trainer(*callbacks: Callback, **options: Any) -> Trainer:
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    chosen = {"max_epochs": 1, "enable_model_summary": False, **quiet, **options}
    return Trainer(accelerator="cpu", callbacks=list(callbacks), **chosen)


class Told(Callback):
    """What the loss was told, and which examples came."""

    def __init__(self) -> None:
        self.first: list[list[float]] = []
        self.active: list[bool] = []

    def on_train_batch_start(self, trainer: Trainer, module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:
            self.first.append([])
            self.active.append(module.loss.weighting.active)
        self.first[-1] += batch[0][:, 0].tolist()


@pytest.mark.parametrize("knob", ["auto", None])
def test_a_step_is_that_of_the_loss_by_hand(data: Any, knob: Any, capsys: pytest.CaptureFixture[str]) -> None:
    inputs, target = data.tensors
    by_hand = network()
    shift = torch.tensor(COUNTS).log() if knob else torch.zeros(3)
    cross_entropy(by_hand(inputs) + shift, target).backward()
    wanted = by_hand.weight - 0.1 * by_hand.weight.grad
    module = LightningClassifier(network(), target, class_imbalance=knob, optimizer=sgd)
    trainer().fit(module, DataLoader(data, batch_size=24))
    torch.testing.assert_close(module.model.weight, wanted)
    assert capsys.readouterr().out.count(module.imbalance.text) == 1
    assert isinstance(LightningClassifier(network(), TARGET).configure_optimizers(), torch.optim.AdamW)


def test_mappings_and_outputs_with_logits_do_too(data: Any) -> None:
    class Dressed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"logits": self.inner(x)}

    rows = [{"x": x, "labels": k} for x, k in zip(*data.tensors, strict=True)]
    dressed = LightningClassifier(Dressed(), TARGET, optimizer=sgd)
    plain = LightningClassifier(network(), TARGET, optimizer=sgd)
    trainer().fit(dressed, DataLoader(rows, batch_size=8))
    trainer().fit(plain, DataLoader(data, batch_size=8))
    torch.testing.assert_close(dressed.model.inner.weight, plain.model.weight)
    found: Any = trainer().predict(dressed, DataLoader(rows, batch_size=24))
    torch.testing.assert_close(found[0], plain.model(data.tensors[0]).softmax(1))
    bare: Any = trainer().predict(plain, DataLoader(data.tensors[0], batch_size=24))
    torch.testing.assert_close(bare, found)


@pytest.mark.parametrize(("key", "options"), [("target", {}), ("y", {"target": lambda batch: batch["y"]})])
def test_labels_of_a_mapping_are_no_inputs_whatever_they_are_called(
    data: Any, key: str, options: dict[str, Any]
) -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.inner(x)
            return found

    rows = [{"x": x, key: k} for x, k in zip(*data.tensors, strict=True)]
    named = LightningClassifier(Named(), TARGET, optimizer=sgd, **options)
    plain = LightningClassifier(network(), TARGET, optimizer=sgd)
    trainer().fit(named, DataLoader(rows, batch_size=8))
    trainer().fit(plain, DataLoader(data, batch_size=8))
    torch.testing.assert_close(named.model.inner.weight, plain.model.weight)
    bare: Any = trainer().predict(named, DataLoader([{"x": row["x"]} for row in rows], batch_size=24))
    torch.testing.assert_close(bare[0], plain.model(data.tensors[0]).softmax(1))


@pytest.mark.parametrize("wraps", [True, False])
def test_the_sampler_draws_its_first_epoch_first(data: Any, wraps: bool) -> None:
    knob = {"sampler": "class_balanced", "loss": {"name": "cross_entropy"}}
    module, told = LightningClassifier(network(), TARGET, class_imbalance=knob), Told()
    loader = DataLoader(data, batch_size=4, sampler=module.sampler)
    trainer(told, max_epochs=3, use_distributed_sampler=wraps).fit(module, loader)
    plain = ClassBalancedSampler(TARGET)
    for epoch, seen in enumerate(told.first, start=1):
        plain.set_epoch(epoch)
        assert seen == data.tensors[0][list(plain), 0].tolist()
    assert len(told.first) == 3


def test_the_loss_is_told_its_epochs(data: Any) -> None:
    deferred = {"name": "cross_entropy", "options": {"weights": "inverse", "defer": 0.5}}
    module = LightningClassifier(network(), TARGET, class_imbalance={"loss": deferred}, epochs=4)
    told = Told()
    trainer(told, max_epochs=4).fit(module, DataLoader(data, batch_size=12))
    assert told.active == [False, False, True, True]


@pytest.mark.parametrize("part", ["val", "test"])
def test_recall_of_every_class_is_logged(data: Any, part: str) -> None:
    model = network()
    with torch.no_grad():
        model.bias[2] = -100.0
        guess = model(data.tensors[0]).argmax(1)
    module = LightningClassifier(model, TARGET, class_names=["ape", "bee", "cat"], optimizer=sgd)
    loader, run = DataLoader(data, batch_size=7), trainer()
    run.validate(module, loader, verbose=False) if part == "val" else run.test(module, loader, verbose=False)
    target, found = data.tensors[1], {key: float(value) for key, value in run.callback_metrics.items()}
    recall = [float((guess == k)[target == k].float().mean()) for k in range(3)]
    names = [f"{part}_recall/{name}" for name in ("ape", "bee", "cat")]
    assert [found[name] for name in names] == pytest.approx(recall)
    assert found[f"{part}_recall/cat"] == 0.0
    assert found[f"{part}_balanced_accuracy"] == pytest.approx(sum(recall) / 3)
    assert found[f"{part}_accuracy"] == pytest.approx(float((guess == target).float().mean()))
    shifted = cross_entropy(model(data.tensors[0]) + torch.tensor(COUNTS).log(), target)
    assert found[f"{part}_loss"] == pytest.approx(shifted.item(), rel=1e-5)


def test_a_class_without_an_example_has_no_recall() -> None:
    count = RecallCount(["a", "b", "c"])
    assert count.numbers() == {"accuracy": 0.0, "balanced_accuracy": 0.0}
    count.add(torch.eye(3)[[0, 1, 1]], torch.tensor([0, 1, 0]))
    assert count.numbers() == {
        "recall/a": 0.5,
        "recall/b": 1.0,
        "accuracy": 2 / 3,
        "balanced_accuracy": 0.75,
    }


def test_a_checkpoint_needs_only_the_network(data: Any, tmp_path: Path) -> None:
    knob: dict[str, Any] = {"loss": {"name": "group_dro", "options": {"eta_q": 0.5}}, "sampler": "over"}
    knob["allow_double_correction"] = True
    module = LightningClassifier(
        network(), data.tensors[1].numpy(), class_imbalance=knob, class_names=list("abc")
    )
    run = trainer()
    run.fit(module, DataLoader(data, batch_size=8, sampler=module.sampler))
    run.save_checkpoint(tmp_path / "last.ckpt")
    again = LightningClassifier.load_from_checkpoint(tmp_path / "last.ckpt", model=nn.Linear(5, 3))
    assert again.imbalance.text == module.imbalance.text
    assert again.class_names == ("a", "b", "c")
    assert again.loss.state_dict()
    for name, value in module.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value)
    trainer().validate(again, DataLoader(data, batch_size=8), verbose=False)


def test_the_callback_measures_beside_it(data: Any) -> None:
    module, callback = LightningClassifier(network(), TARGET), LightningCallback(every=2, parameters="all")
    trainer(callback, max_epochs=3).fit(module, DataLoader(data, batch_size=24))
    assert len(callback.records) == 2
    assert set(callback.records[0]["norm"]) == {"ape", "bee", "cat"}


@pytest.mark.parametrize(
    ("given", "options", "said"),
    [
        (None, {}, "train_labels must be given, or class_counts, got neither"),
        (["cat"], {}, "train_labels must be class indices, got 'cat'"),
        ([0, 2, 0], {}, r"class_counts\[1\]=0; drop the class or merge it"),
        (TARGET, {"class_names": ["ape", "bee"]}, "below the 2 classes of the model, got 2"),
        (None, {"class_counts": COUNTS, "class_names": ["a"]}, "class_names must hold 3 names, .* got 1"),
        (TARGET, {"class_imbalance": {"loss": "nt_xent"}}, "must be a loss of logits, got 'nt_xent'"),
        (TARGET, {"class_imbalance": {"sampler": "undr"}}, "did you mean 'under'"),
        (
            TARGET,
            {"class_imbalance": {"sampler": "over", "loss": "logit_adjusted"}},
            "must be corrected once",
        ),
    ],
)
def test_bad_input_is_refused_with_a_remedy(given: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        LightningClassifier(network(), given, **options)


def test_a_sampler_that_is_not_in_use_is_noticed(data: Any) -> None:
    chosen = {"class_imbalance": {"sampler": "over"}}
    said = "must draw with the sampler over, got RandomSampler; give train_labels .*sampler=module.sampler"
    with pytest.raises(InputError, match=said):
        trainer().fit(LightningClassifier(network(), TARGET, **chosen), DataLoader(data, shuffle=True))
    with pytest.raises(InputError, match="must draw with the sampler over"):
        trainer().fit(LightningClassifier(network(), class_counts=COUNTS, **chosen), DataLoader(data))


def test_a_network_with_other_classes_is_refused(data: Any) -> None:
    module = LightningClassifier(nn.Linear(5, 4), TARGET)
    with pytest.raises(InputError, match="one column for each of the 3 classes counted or weighted, got 4"):
        trainer().fit(module, DataLoader(data, batch_size=8))
