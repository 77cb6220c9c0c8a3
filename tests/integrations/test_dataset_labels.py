"""Labels of data sets of all kinds, and those that have none."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from tailgrad.checks import InputError
from tailgrad.integrations.dataset_labels import checked_labels, count_labels, dataset_labels

LABELS = [2, 0, 1, 0]


class Columns:
    """The part of a Hugging Face data set that counts here."""

    def __init__(self, **columns: list[Any]) -> None:
        self.columns, self.column_names = columns, list(columns)

    def __len__(self) -> int:
        return 4

    def __getitem__(self, name: str) -> list[Any]:
        return self.columns[name]


class Items(Dataset[Any]):
    def __init__(self, items: list[Any], length: int | None = None) -> None:
        self.items, self.length = items, length

    def __len__(self) -> int:
        return len(self.items) if self.length is None else self.length

    def __getitem__(self, i: int) -> Any:
        torch.rand(1)  # as a random transform would
        return self.items[i]


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        yield {"labels": 0}


def folder(labels: Any) -> Any:
    return type("Folder", (Items,), {"targets": labels})([0] * 4)


@pytest.mark.parametrize(
    "dataset",
    [
        Columns(x=[0, 0, 0, 0], label=LABELS),
        Columns(labels=LABELS, label=["a", "b", "c", "d"]),
        folder(LABELS),
        folder(torch.tensor(LABELS, dtype=torch.int32)),
        folder(np.array(LABELS, dtype=np.uint8)),
        TensorDataset(torch.zeros(4, 2), torch.tensor(LABELS)),
        Subset(TensorDataset(torch.zeros(6, 2), torch.tensor([9, 0, 1, 2, 0, 9])), [3, 1, 2, 4]),
        Items([(0.5, k) for k in LABELS]),
        [{"x": 0.5, "label": k} for k in LABELS],
        [{"x": 0.5, "labels": torch.tensor(k)} for k in LABELS],
    ],
    ids=[
        "label",
        "labels",
        "list",
        "tensor",
        "array",
        "tensors",
        "subset",
        "pairs",
        "label of item",
        "labels of item",
    ],
)
def test_labels_are_found(dataset: Any) -> None:
    assert dataset_labels(dataset).tolist() == LABELS


def test_looking_takes_nothing_from_the_random_numbers_of_torch() -> None:
    torch.manual_seed(0)
    dataset_labels(Items([(0.5, k) for k in LABELS]))
    found = torch.rand(1)
    torch.manual_seed(0)
    assert found == torch.rand(1)


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        (
            Columns(text=["a"], topic=[1]),
            "must have a column labels or label or label_ids, got text, topic; rename",
        ),
        (Columns(label=["cat", "dog"]), "must be class indices, got 'cat'.*class_encode_column"),
        (Columns(label=[0, None]), "must be class indices, got 0; number"),
        (Columns(label=[0.5, 1.5]), "must be class indices from 0 on, got float64"),
        (Columns(label=[0, -1]), "from 0 on, got -1; give train_labels"),
        (Columns(label=[[1, 0], [0]]), "must be one class index an example"),
        (folder(torch.eye(3)), r"must be one class index an example, got shape \[3, 3\]"),
        (folder([]), r"got shape \[0\]"),
        (Items([{"image": 0.5}]), "must have labels, got an item with image; give train_labels"),
        (Items([0.5]), "must have labels, got an item that is a float"),
        (
            Items([(0.5, 1)], length=10_001),
            "got 10001 items of a Items without targets or labels; give train_labels",
        ),
        (Stream(), "must have a length and items, got a Stream; .*give class_counts"),
        (SimpleNamespace(column_names=["label"]), "must have a length and items, got a SimpleNamespace"),
    ],
)
def test_what_has_no_labels_says_what_to_do(dataset: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        dataset_labels(dataset)


def test_text_of_a_series_with_another_index_is_named() -> None:
    with pytest.raises(InputError, match="train_labels must be class indices, got 'cat'"):
        checked_labels(pd.Series(["cat", "dog"], index=[5, 6]))


def test_classes_are_counted_as_the_model_has_them() -> None:
    assert count_labels(np.array(LABELS)) == (2, 1, 1)
    assert count_labels(np.array(LABELS), 5) == (2, 1, 1, 0, 0)
    with pytest.raises(InputError, match="below the 2 classes of the model, got 2; give the model 3 classes"):
        count_labels(np.array(LABELS), 2)
    assert checked_labels(torch.tensor(LABELS)).dtype == np.int64


class Formatted(Columns):
    """A Hugging Face data set that shows its columns through a transform, or only some of them."""

    def with_format(self, kind: Any) -> Columns:
        assert kind is None
        return Columns(**self.columns)

    def __getitem__(self, name: str) -> list[Any]:
        raise KeyError(name)


def test_a_transform_of_the_images_does_not_hide_the_labels() -> None:
    assert dataset_labels(Formatted(image=[0] * 4, label=LABELS)).tolist() == LABELS


def test_labels_of_a_real_data_set_are_found_in_every_format() -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"image": [0.5] * 4, "label": LABELS})

    def transform(batch: dict[str, list[Any]]) -> dict[str, Any]:
        return {"pixel_values": [torch.tensor(value) for value in batch["image"]], "labels": batch["label"]}

    for found in (rows, rows.with_transform(transform), rows.with_format("torch", columns=["image"])):
        assert dataset_labels(found).tolist() == LABELS
    assert dataset_labels(rows.with_transform(transform).select([2, 0])).tolist() == [1, 2]
