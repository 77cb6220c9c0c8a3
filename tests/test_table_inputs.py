"""Rows of a table where a tensor of images may stand."""

import copy
import pickle

import pytest
import torch
from lightning.fabric import Fabric
from torch.utils import _pytree as pytree
from torch.utils.data import DataLoader, TensorDataset

from tailgrad.interference.trees import cut, example_numbers, form, join, leaves, length
from tailgrad.types import Batch, TableInputs


def rows(n: int = 6) -> TableInputs:
    return TableInputs(torch.arange(3.0 * n).view(n, 3), torch.arange(2 * n).view(n, 2))


def same(one: TableInputs, other: TableInputs) -> bool:
    return torch.equal(one.numbers, other.numbers) and torch.equal(one.categories, other.categories)


def test_it_is_indexed_as_a_tensor_is() -> None:
    table = rows()
    for place in (torch.tensor([4, 0, 4]), slice(1, 3), 2, torch.tensor([True, False] * 3)):
        taken = table[place]
        assert torch.equal(taken.numbers, table.numbers[place])
        assert torch.equal(taken.categories, table.categories[place])
    assert len(table) == 6
    assert [int(row.categories[0]) for row in table] == [0, 2, 4, 6, 8, 10]


def test_a_type_is_that_of_the_numbers_alone() -> None:
    moved = rows().to(torch.device("cpu"), torch.float64)
    assert (moved.numbers.dtype, moved.categories.dtype) == (torch.float64, torch.int64)
    assert rows().to("meta", non_blocking=True).categories.device.type == "meta"
    assert rows().to("meta").device.type == "meta"


def test_it_is_a_node_of_trees() -> None:
    flat, form_of = pytree.tree_flatten({"x": rows()})
    assert [part.dtype for part in flat] == [torch.float32, torch.int64]
    assert same(pytree.tree_unflatten(flat, form_of)["x"], rows())
    doubled = torch.func.vmap(lambda row: row.numbers.sum() + row.categories.sum())(rows())
    assert torch.equal(doubled, rows().numbers.sum(1) + rows().categories.sum(1))


def test_loaders_stack_single_rows() -> None:
    table = rows()
    data = [(table[i], i) for i in range(6)]
    (first, target), second = DataLoader(data, batch_size=4)
    assert same(first, table[:4])
    assert target.tolist() == [0, 1, 2, 3]
    assert same(second[0], table[4:])


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_fabric_moves_and_converts_it(precision: str) -> None:
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    assert same(fabric.to_device(rows()), rows())

    class Sum(torch.nn.Linear):
        def forward(self, inputs: TableInputs) -> torch.Tensor:
            assert isinstance(inputs, TableInputs)
            return super().forward(inputs.numbers).float() + inputs.categories.sum(1, keepdim=True)

    wrapped = fabric.setup(Sum(3, 2))
    assert wrapped(rows()).shape == (6, 2)


def test_measurements_take_it_apart_and_put_it_together() -> None:
    table = rows()
    assert (length(table), example_numbers(table), form(table)) == (6, 5, ((3,), (2,)))
    assert len(list(leaves([table, {"x": table}]))) == 4
    parts = [cut(table, 0, 2), cut(table, 2, 6)]
    assert all(isinstance(part, TableInputs) for part in parts)
    assert same(join(parts), table)


def test_copies_and_pickles_keep_it() -> None:
    assert same(copy.deepcopy(rows()), rows())
    assert same(pickle.loads(pickle.dumps(rows())), rows())
    assert len(Batch(rows(), torch.zeros(6).long(), torch.arange(6))) == 6
    # Two tables are equal only where they are one: comparing tensors has no single answer.
    assert rows() != rows()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="pinned memory needs a GPU")
def test_it_is_pinned_by_loaders() -> None:
    table = rows()
    data = TensorDataset(torch.arange(6))
    loader = DataLoader(
        data, collate_fn=lambda places: table[torch.cat([p[0][None] for p in places])], pin_memory=True
    )
    assert next(iter(loader)).numbers.is_pinned()
