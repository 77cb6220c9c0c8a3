"""The Trainer with a loss and a sampler: what reaches the weights, what is printed, what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import IterableDataset

from tailgrad.checks import InputError

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from tailgrad.integrations import HuggingFaceCallback, ImbalanceTrainer  # noqa: E402
from tailgrad.samplers import ClassBalancedSampler  # noqa: E402

COUNTS = [14, 6, 4]
TARGET = [0] * 14 + [1] * 6 + [2] * 4
FOCAL = {"loss": {"name": "focal", "options": {"gamma": 1.0}}}
DEFERRED = {"loss": {"name": "cross_entropy", "options": {"weights": "inverse", "defer": 1}}}


def vit(labels: int = 3, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.ViTConfig(image_size=8, patch_size=4, num_labels=labels, **small, **options)
    return transformers.ViTForImageClassification(config)


def bert(**options: Any) -> nn.Module:
    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.BertConfig(
        vocab_size=30, max_position_embeddings=12, id2label={0: "ape", 1: "bee", 2: "cat"}, **small, **options
    )
    return transformers.BertForSequenceClassification(config)


def images() -> list[dict[str, Tensor]]:
    torch.manual_seed(3)
    return [{"pixel_values": torch.randn(3, 8, 8), "labels": torch.tensor(k)} for k in TARGET]


def texts() -> list[dict[str, Any]]:
    torch.manual_seed(3)
    return [{"input_ids": torch.randint(30, (9,)), "label": k} for k in TARGET]


def trainer_of(
    folder: Path, model: nn.Module, data: Any, kind: Any = ImbalanceTrainer, **options: Any
) -> Any:
    arguments: dict[str, Any] = {
        "max_steps": 4,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-2,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        **options.pop("arguments", {}),
    }
    args = transformers.TrainingArguments(output_dir=str(folder), **arguments)
    return kind(model=model, args=args, train_dataset=data, **options)


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


# What reaches the weights


def by_hand(make_loss: Callable[[Tensor, Tensor], Tensor]) -> Any:
    def loss(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        return make_loss(outputs.logits, labels) / num_items_in_batch

    return loss


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize(("build", "rows"), [(vit, images), (bert, texts)], ids=["images", "text"])
def test_auto_trains_with_the_logits_shifted_by_the_prior(
    tmp_path: Path, build: Any, rows: Any, accumulate: int
) -> None:
    def balanced(logits: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(logits + torch.tensor(COUNTS).log(), labels, reduction="sum")

    arguments = {"gradient_accumulation_steps": accumulate, "per_device_train_batch_size": 5, "optim": "sgd"}
    ours, theirs = build(), build()
    trainer_of(tmp_path, ours, rows(), arguments=arguments).train()
    options: dict[str, Any] = {"compute_loss_func": by_hand(balanced), "arguments": arguments}
    trainer_of(tmp_path, theirs, rows(), transformers.Trainer, **options).train()
    torch.testing.assert_close(weights(ours), weights(theirs), atol=1e-6, rtol=1e-5)
    assert not torch.allclose(weights(ours), weights(build()), atol=1e-4)


@pytest.mark.parametrize("data", [images(), images()[:7] + images()[14:]], ids=["none", "balanced"])
def test_none_and_nearly_balanced_change_nothing(
    tmp_path: Path, data: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, theirs = vit(), vit()
    knob = None if len(data) == 24 else "auto"
    options: dict[str, Any] = {"arguments": {"label_smoothing_factor": 0.1}}
    made = trainer_of(tmp_path, ours, data, class_imbalance=knob, class_counts=[7, 6, 5], **options)
    trainer_of(tmp_path, theirs, data, transformers.Trainer, **options).train()
    made.train()
    assert torch.equal(weights(ours), weights(theirs))
    assert ("Nothing is changed" in capsys.readouterr().out) == (knob == "auto")


def test_what_auto_did_is_printed_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = trainer_of(tmp_path, bert(), texts(), arguments={"max_steps": 1})
    said = capsys.readouterr().out
    assert said == made.imbalance.text + "\n"
    assert "(14 of ape to 4 of cat): the loss is balanced_softmax" in said
    made.train()
    assert made.imbalance.text not in capsys.readouterr().out


# The sampler


class Seen(nn.Module):
    """Writes down which examples it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 3)
        self.seen: list[int] = []

    def forward(self, x: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        if self.training:
            self.seen += x[:, 0].int().tolist()
        logits = self.layer(x / 24)
        return (
            {"logits": logits}
            if labels is None
            else {"loss": cross_entropy(logits, labels), "logits": logits}
        )


def numbered() -> list[dict[str, Tensor]]:
    return [{"x": torch.tensor([float(i)]), "labels": torch.tensor(k)} for i, k in enumerate(TARGET)]


@pytest.mark.parametrize("loss", [{}, FOCAL], ids=["own loss", "focal"])
def test_the_sampler_draws_and_every_epoch_anew(tmp_path: Path, loss: dict[str, Any]) -> None:
    model = Seen()
    epochs = {"max_steps": -1, "num_train_epochs": 3, "data_seed": 7}
    knob = {"sampler": "class_balanced", **loss}
    trainer_of(tmp_path, model, numbered(), class_imbalance=knob, arguments=epochs).train()
    plain = ClassBalancedSampler(TARGET, seed=7)
    wanted: list[int] = []
    for epoch in (1, 2, 3):
        plain.set_epoch(epoch)
        wanted += plain
    assert model.seen == wanted


def test_schedules_begin_with_the_first_epoch(tmp_path: Path) -> None:
    model, at = Seen(), {"name": "deferred", "options": {"defer": 0.5}}
    options: dict[str, Any] = {"arguments": {"max_steps": -1, "num_train_epochs": 2}}
    trainer_of(tmp_path, model, numbered(), class_imbalance={"sampler": at}, **options).train()
    assert sorted(model.seen[:24]) == list(range(24)), "the first epoch is a shuffle"
    assert len(set(model.seen[24:])) < 24, "the second draws with replacement"


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*")
def test_losses_are_told_their_epoch_also_after_a_restart(tmp_path: Path) -> None:
    active: list[bool] = []

    def trained(epochs: float, **how: Any) -> Any:
        options = {"max_steps": -1, "num_train_epochs": epochs, "save_strategy": "epoch"}
        made = trainer_of(tmp_path, Seen(), numbered(), class_imbalance=DEFERRED, arguments=options)
        inner = made.imbalance.loss.forward

        def forward(logits: Tensor, target: Tensor) -> Tensor:
            active.append(made.imbalance.loss.weighting.active)
            return inner(logits, target)

        made.imbalance.loss.forward = forward
        made.train(**how)
        return made

    trained(2)
    assert active == [False] * 6 + [True] * 6
    active.clear()
    trained(3, resume_from_checkpoint=str(tmp_path / "checkpoint-6"))
    assert active == [True] * 12


def test_the_state_of_a_loss_is_in_the_checkpoints(tmp_path: Path) -> None:
    options: dict[str, Any] = {"class_imbalance": {"loss": "group_dro"}}
    saving = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    first = trainer_of(tmp_path, Seen(), numbered(), arguments=saving, **options)
    first.train()
    again = trainer_of(tmp_path, Seen(), numbered(), arguments=saving, **options)
    before = {name: value.clone() for name, value in again.imbalance.loss.state_dict().items()}
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert any(
        not torch.equal(before[name], value) for name, value in first.imbalance.loss.state_dict().items()
    )
    for name, value in first.imbalance.loss.state_dict().items():
        torch.testing.assert_close(again.imbalance.loss.state_dict()[name], value)


# Evaluation, other data, the callback


def test_evaluation_takes_the_same_loss_and_keeps_the_logits(tmp_path: Path) -> None:
    model, data = vit().eval(), images()
    made = trainer_of(
        tmp_path, model, data, eval_dataset=data, compute_metrics=lambda p: {"n": len(p.label_ids)}
    )
    found = made.evaluate()
    pixels, labels = torch.stack([row["pixel_values"] for row in data]), torch.tensor(TARGET)
    with torch.no_grad():
        logits = model(pixels).logits
    shifted = cross_entropy(logits + torch.tensor(COUNTS).log(), labels)
    assert found["eval_loss"] == pytest.approx(float(shifted), abs=1e-5)
    assert found["eval_n"] == 24
    torch.testing.assert_close(torch.as_tensor(made.predict(data).predictions), logits)


def test_a_stream_trains_with_given_counts(tmp_path: Path) -> None:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Any:
            return iter(numbered())

    made = trainer_of(tmp_path, Seen(), Stream(), class_counts=COUNTS)
    assert type(made.imbalance.loss).__name__ == "BalancedSoftmaxLoss"
    made.train()
    with pytest.raises(InputError, match="must have a length and items, got a Stream; .*give class_counts"):
        trainer_of(tmp_path, Seen(), Stream())
    with pytest.raises(InputError, match="a sampler cannot do without"):
        trainer_of(tmp_path, Seen(), Stream(), class_counts=COUNTS, class_imbalance={"sampler": "over"})


def test_only_evaluating_needs_no_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = trainer_of(tmp_path, vit(), None, eval_dataset=images())
    assert made.imbalance.loss is None
    assert not capsys.readouterr().out


def test_soft_labels_of_a_collator_are_taken(tmp_path: Path) -> None:
    def soft(rows: Any) -> dict[str, Tensor]:
        hot = torch.eye(3)[[int(row["labels"]) for row in rows]]
        return {"pixel_values": torch.stack([row["pixel_values"] for row in rows]), "labels": hot}

    ours, theirs = vit(), vit()
    trainer_of(tmp_path, ours, images(), data_collator=soft).train()
    trainer_of(tmp_path, theirs, images()).train()
    torch.testing.assert_close(weights(ours), weights(theirs))


def test_the_callback_measures_beside_it(tmp_path: Path) -> None:
    callback = HuggingFaceCallback(every=2, class_names=3)
    callback.attach(trainer_of(tmp_path, vit(), images())).train()
    assert len(callback.records) == 2


# Refusals


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        (vit(5), {}, r"class_counts\[3\]=0; drop the class or merge it"),
        (vit(2), {}, "labels must be below the 2 classes of the model, got 2; give the model 3 classes"),
        (vit(4), {"class_counts": COUNTS}, "one count for each of the model's 4 classes, got 3"),
        (vit(1), {}, "got problem_type=None and num_labels=1; give it as many labels as classes"),
        (vit(problem_type="regression"), {}, "got problem_type='regression'.*set class_imbalance=None"),
        (
            vit(problem_type="multi_label_classification"),
            {},
            "compute_loss_func, with MultiLabelAsymmetricLoss",
        ),
        (vit(), {"train_labels": ["cat"] * 24}, "train_labels must be class indices, got 'cat'"),
        (
            vit(),
            {"class_imbalance": {"loss": "bcl"}},
            "must be a loss of logits, got 'bcl', which takes features",
        ),
        (vit(), {"class_imbalance": {"loss": "fokal"}}, "did you mean 'focal'"),
        (
            vit(),
            {"arguments": {"label_smoothing_factor": 0.1}},
            "label_smoothing_factor must be 0 .* got 0.1",
        ),
        (vit(), {"compute_loss_func": print}, "compute_loss_func must be left out"),
        (
            vit(),
            {"class_imbalance": {"loss": "balanced_softmax", "sampler": "over"}},
            "must be corrected once, got loss balanced_softmax [+] sampler over",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Label smoothing is not compatible")
def test_bad_input_is_refused_before_training(
    tmp_path: Path, model: nn.Module, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        trainer_of(tmp_path, model, images(), **options)


def test_one_order_only(tmp_path: Path) -> None:
    strategy = "train_sampling_strategy" in transformers.TrainingArguments.__dataclass_fields__
    by_length = {"train_sampling_strategy": "group_by_length"} if strategy else {"group_by_length": True}
    with pytest.raises(InputError, match="the sampler over and group_by_length; keep one of the two"):
        trainer_of(tmp_path, bert(), texts(), class_imbalance={"sampler": "over"}, arguments=by_length)


def test_data_that_change_are_noticed(tmp_path: Path) -> None:
    made = trainer_of(tmp_path, vit(), images(), class_imbalance={"sampler": "over"})
    made.train_dataset = images()[:5]
    with pytest.raises(InputError, match="must have 24 examples, one a label"):
        made.train()


def test_labels_under_another_name_are_noticed(tmp_path: Path) -> None:
    class Answering(Seen):
        def forward(self, x: Tensor, answer: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
            assert len(answer) == len(x)
            return super().forward(x)

    rows = [{"x": row["x"], "answer": row["labels"]} for row in numbered()]
    made = trainer_of(tmp_path, Answering(), rows, train_labels=TARGET)
    # transformers up to 4.49 says it in its own words
    with pytest.raises(ValueError, match="labels must be in the batch under that name|did not return a loss"):
        made.train()


@pytest.mark.parametrize(("asked", "told"), [(0.3, 1), (1.2, 2), (2.5, 3), (3.0, 3)])
def test_a_part_of_an_epoch_is_an_epoch_as_the_trainer_counts(
    tmp_path: Path, asked: float, told: int
) -> None:
    """``defer=0.5`` of 2.5 epochs, which the Trainer runs as 3, begins after the epoch of that share of 3."""
    arguments = {"max_steps": -1, "num_train_epochs": asked, "per_device_train_batch_size": 24}
    knob = {"sampler": "progressive"}
    made = trainer_of(tmp_path, Seen(), numbered(), class_imbalance=knob, arguments=arguments)
    made.train()
    assert made.state.num_train_epochs == told
    assert made.imbalance.filled["epochs"] == told
