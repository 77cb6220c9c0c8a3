"""Every form of data gives the same examples, once; class chunks hold one class each."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from tailgrad.checks import InputError
from tailgrad.interference import measure
from tailgrad.interference.batches import batches
from tailgrad.types import Batch

INPUTS, TARGET = torch.randn(23, 6).double(), torch.arange(23) % 4


class _Arrays(Dataset[tuple[np.ndarray, int]]):
    """NumPy inputs, Python integers as labels."""

    classes = ("ant", "bee", "cat", "dog")

    def __len__(self) -> int:
        return len(TARGET)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        return INPUTS[index].numpy(), int(TARGET[index])


class _Stream(IterableDataset[tuple[Tensor, Tensor]]):
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(INPUTS, TARGET, strict=True)

    def __len__(self) -> int:
        return len(TARGET)


def _pieces() -> Iterator[tuple[Tensor, Tensor]]:
    return zip(INPUTS.split(5), TARGET.split(5), strict=True)


SOURCES = {
    "list of batches": lambda: list(_pieces()),
    "generator": _pieces,
    "generator of examples": lambda: zip(INPUTS, TARGET.tolist(), strict=True),
    "loader": lambda: DataLoader(TensorDataset(INPUTS, TARGET), batch_size=4),
    "tensor data set": lambda: TensorDataset(INPUTS, TARGET),
    "array data set": _Arrays,
    "iterable data set": _Stream,
    "loader of an iterable data set": lambda: DataLoader(_Stream(), batch_size=6),
    "Batch": lambda: [Batch(x, y, torch.arange(len(y))) for x, y in _pieces()],
    "with index": lambda: [(x, y, torch.arange(len(y))) for x, y in _pieces()],
    "small integers": lambda: [(x.numpy(), y.to(torch.uint8).numpy()) for x, y in _pieces()],
}


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_gives_the_same_examples(source: str) -> None:
    inputs, target = (torch.cat(parts) for parts in zip(*batches(SOURCES[source]()), strict=True))
    torch.testing.assert_close(inputs, INPUTS, rtol=0, atol=0)
    torch.testing.assert_close(target, TARGET, rtol=0, atol=0)


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_gives_the_same_conflict(source: str, perceptron: nn.Module) -> None:
    expected = measure(perceptron, [(INPUTS, TARGET)])
    result = measure(perceptron, SOURCES[source]())
    np.testing.assert_allclose(result.conflict, expected.conflict, rtol=0, atol=1e-10)
    np.testing.assert_allclose(result.null, expected.null, rtol=0, atol=1e-10)


def test_a_generator_is_consumed_once(perceptron: nn.Module) -> None:
    pulled = []
    stream = (pulled.append(len(y)) or (x, y) for x, y in _pieces())
    measure(perceptron, stream)
    assert pulled == [5, 5, 5, 5, 3]


def test_order_seed_permutes_a_data_set_only() -> None:
    data = TensorDataset(torch.arange(50.0)[:, None], torch.zeros(50).long())
    orders = [torch.cat([x for x, _ in batches(data, seed)]).flatten().tolist() for seed in (None, 1, 1, 2)]
    assert orders[0] == sorted(orders[0]) == sorted(orders[1]) == sorted(orders[3])
    assert orders[1] == orders[2] != orders[3]
    assert torch.equal(torch.cat([y for _, y in batches(_pieces(), 1)]), TARGET)


def test_max_per_class_takes_the_first_of_an_iterable(perceptron: nn.Module) -> None:
    result = measure(perceptron, _pieces(), max_per_class=3)
    np.testing.assert_array_equal(result.counts, [3, 3, 3, 3])
    first = torch.cat([torch.arange(23)[k == TARGET][:3] for k in range(4)])
    expected = measure(perceptron, [(INPUTS[first], TARGET[first])])
    np.testing.assert_allclose(result.conflict, expected.conflict, rtol=0, atol=1e-10)


def test_max_per_class_leaves_the_stream_once_every_class_is_full(perceptron: nn.Module) -> None:
    def endless() -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield INPUTS, TARGET

    np.testing.assert_array_equal(measure(perceptron, endless(), max_per_class=7).counts, [7, 7, 7, 7])


def test_max_per_class_draws_from_a_data_set_by_seed(perceptron: nn.Module) -> None:
    data = TensorDataset(INPUTS, TARGET)
    one, again, other = (measure(perceptron, data, max_per_class=2, seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(one.conflict, again.conflict)
    assert np.abs(one.conflict - other.conflict).max() > 1e-6


def test_names_come_from_the_data_set(perceptron: nn.Module) -> None:
    assert measure(perceptron, _Arrays()).class_names == _Arrays.classes
    assert measure(perceptron, DataLoader(_Arrays(), 4)).class_names == _Arrays.classes
    assert measure(perceptron, _pieces()).class_names == ("0", "1", "2", "3")
    assert measure(perceptron, _Arrays(), class_names=list("wxyz")).class_names == ("w", "x", "y", "z")


BAD = {
    "empty": ([], "at least one example, got an empty list"),
    "empty generator": (iter(()), "at least one example"),
    "no labels": ([INPUTS], "got Tensor without a label"),
    "dictionary without labels": ([{"x": INPUTS}], "got dict without a label"),
    "two arrays": ((INPUTS, TARGET), r"got one tuple of two arrays; pass \[\(inputs, target\)\]"),
    "two arrays in a list": ([INPUTS.numpy(), TARGET.numpy()], "got one list of two arrays"),
    "one-tuple": ([(INPUTS,)], "got tuple without a label"),
    "array pair": (INPUTS, "wrap arrays in torch.utils.data.TensorDataset"),
    "mapping": ({"inputs": INPUTS}, "got dict"),
    "number": (3, "got int"),
    "float labels": ([(INPUTS, TARGET.float())], "integer class indices, got torch.float32"),
    "float label": ([(INPUTS[0], 1.0)], "integer class indices, got torch.float32"),
    "boolean labels": ([(INPUTS, TARGET > 1)], "got torch.bool"),
    "text labels": ([(INPUTS, ["a"] * 23)], "number the classes from 0"),
    "no label": ([(INPUTS[0], None)], "target must be class indices, got None"),
    "one-hot": ([(INPUTS, nn.functional.one_hot(TARGET))], r"got shape \[23, 4\]"),
    "unequal": ([(INPUTS, TARGET[:5])], r"inputs \[23, 6\] and target \[5\]"),
    "mixed": ([(INPUTS, TARGET), (INPUTS[0], TARGET[0])], "one entry an example"),
    "dimensions": ([(INPUTS, TARGET), (INPUTS[:, None], TARGET)], r"one form, got \[\(1, 6\)\] where"),
    "unequal inputs": ([((INPUTS, INPUTS[:5]), TARGET)], r"inputs \[\[23, 6\], \[5, 6\]\] and target"),
    "no inputs": ([((), TARGET)], "as inputs, got tuple"),
    "pictures": ([("cat.png", 1)], "as inputs, got str"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_data(case: str) -> None:
    data, message = BAD[case]
    with pytest.raises(InputError, match=message):
        list(batches(data))
