"""Packs hold every example once, one class and one fold a segment, within bounds on what waits."""

import gc
from collections import Counter
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tailgrad.interference import packs as module
from tailgrad.interference.packs import Pack, packs, sorted_pack

pytestmark = pytest.mark.long

Stream = Iterator[tuple[Tensor, Tensor]]


def _segments(pack: Pack) -> Iterator[tuple[int, int, list[int]]]:
    for s, (label, fold) in enumerate(zip(pack.labels, pack.folds, strict=True)):
        yield label, fold, pack.inputs[pack.bounds[s] : pack.bounds[s + 1]].tolist()


labels_of_examples = st.lists(st.integers(0, 4), min_size=1, max_size=60)


@settings(max_examples=80, deadline=None)
@given(
    labels=labels_of_examples,
    size=st.integers(1, 20),
    chunk=st.integers(1, 7),
    held=st.integers(1, 12),
    folds=st.integers(1, 4),
)
def test_every_example_once_in_a_segment_of_its_class(
    labels: list[int], size: int, chunk: int, held: int, folds: int
) -> None:
    target, inputs = torch.tensor(labels), torch.arange(len(labels))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHUNK", chunk)
        patch.setattr(module, "_HELD", held)
        found = list(packs(zip(inputs.split(size), target.split(size), strict=True), folds=folds))
    assert sorted(i for pack in found for i in pack.inputs.tolist()) == inputs.tolist()
    dealt: Counter[tuple[int, int]] = Counter()
    for pack in found:
        assert 0 < len(pack) == len(pack.inputs) <= chunk
        assert pack.target().tolist() == target[pack.inputs].tolist()
        assert pack.sizes().sum() == len(pack)
        for label, fold, members in _segments(pack):
            assert members
            assert {labels[i] for i in members} == {label}
            dealt[label, fold] += len(members)
    for label in set(labels):
        sizes = [dealt[label, fold] for fold in range(folds)]
        assert max(sizes) - min(sizes) <= 1


@settings(max_examples=40, deadline=None)
@given(labels=labels_of_examples, size=st.integers(1, 20), most=st.integers(1, 5), folds=st.integers(1, 3))
def test_max_per_class_keeps_the_first_of_each(labels: list[int], size: int, most: int, folds: int) -> None:
    target, inputs = torch.tensor(labels), torch.arange(len(labels))
    stream = zip(inputs.split(size), target.split(size), strict=True)
    found = [i for pack in packs(stream, folds=folds, max_per_class=most) for i in pack.inputs.tolist()]
    assert sorted(found) == sorted(i for k in range(5) for i in inputs[target == k][:most].tolist())


def test_packs_of_one_class_are_full_while_the_stream_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 8)
    found = list(packs([(torch.arange(10), torch.arange(10) % 2)] * 8))
    assert [(len(pack), len(pack.labels)) for pack in found] == [(8, 1)] * 10


def test_small_classes_share_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 8)
    found = list(packs([(torch.arange(20), torch.arange(20) % 10)]))
    assert [len(pack) for pack in found] == [8, 8, 4]
    assert found[0].labels == [0, 1, 2, 3]


def _held(stream: list[tuple[Tensor, Tensor]]) -> tuple[int, int]:
    """Most examples pulled and not yet given out, and all that were given out."""
    pulled = out = most = 0

    def counted() -> Stream:
        nonlocal pulled
        for inputs, target in stream:
            pulled += len(target)
            yield inputs, target

    for pack in packs(counted()):
        most = max(most, pulled - out)
        out += len(pack)
    return most, out


def test_at_most_4096_examples_wait() -> None:
    stream = [(torch.zeros(1000, 1), torch.arange(1000)) for _ in range(12)]
    most, out = _held(stream)
    assert out == 12_000
    assert most <= 4096 + 1000


def test_examples_of_all_lengths_together_stay_within_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HELD", 30)
    most, out = _held([(torch.zeros(10, 1 + i % 9), torch.arange(10)) for i in range(40)])
    assert out == 400
    assert most <= 40


def test_bytes_that_wait_stay_within_their_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HELD_BYTES", 400 * 4)
    most, _ = _held([(torch.zeros(5, 40), torch.arange(5)) for _ in range(20)])
    assert most <= 10 + 5


def test_examples_of_other_lengths_are_never_joined() -> None:
    stream = [(torch.zeros(4, 1 + i % 3), torch.tensor([0, 0, 1, 1])) for i in range(9)]
    shapes = [pack.inputs.shape for pack in packs(stream, folds=2)]
    assert sorted(shapes) == [(12, 1), (12, 2), (12, 3)]


def test_folds_are_shared_by_examples_of_all_lengths() -> None:
    stream = [(torch.zeros(1, 1 + i), torch.tensor([0])) for i in range(8)]
    assert sorted(fold for pack in packs(stream, folds=4) for fold in pack.folds) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_stream_is_read_once_and_left_early() -> None:
    pulled = []

    def endless() -> Stream:
        while True:
            pulled.append(1)
            yield torch.arange(6), torch.arange(6) % 3

    found = list(packs(endless(), max_per_class=5, num_classes=3))
    assert sum(map(len, found)) == 15
    assert len(pulled) == 3


def test_large_images_come_in_small_packs() -> None:
    image = torch.zeros(1, 3, 224, 224).expand(40, -1, -1, -1)
    assert [len(pack) for pack in packs([(image, torch.zeros(40).long())])] == [27, 13]


def test_inputs_in_a_tree_stay_together() -> None:
    x, target = torch.arange(9), torch.arange(9) % 2
    for pack in packs([({"a": x, "b": (x[:, None] * 2, x * 3)}, target)], folds=2):
        a, (b, c) = pack.inputs["a"], pack.inputs["b"]
        assert torch.equal(a * 2, b[:, 0])
        assert torch.equal(a * 3, c)
        assert torch.equal(a % 2, pack.target())


def test_a_batch_is_sorted_as_a_whole() -> None:
    pack = sorted_pack(torch.arange(5), torch.tensor([2, 0, 2, 1, 0]))
    assert pack.inputs.tolist() == [1, 4, 3, 0, 2]
    assert (pack.labels, pack.bounds, pack.folds) == ([0, 1, 2], [0, 2, 3, 5], [0, 0, 0])


def test_few_examples_of_many_batches_do_not_keep_the_batches_alive() -> None:
    """One example a class is wanted of 60 batches of 64: what waits must not be views into all of them."""
    most = 0

    def stream() -> Stream:
        nonlocal most
        for b in range(60):
            target = torch.arange(64)
            target[0] = 64 + b  # one class that is new in every batch
            yield torch.full((64, 5_000), float(b)), target
            tensors = [t for t in gc.get_objects() if type(t) is torch.Tensor and t.ndim == 2]
            storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
            most = max(most, sum(n for n in storages.values() if n % 20_000 == 0))
            del tensors  # or this list would keep them

    found = list(packs(stream(), max_per_class=1))
    assert sorted(label for pack in found for label in pack.labels) == list(range(1, 124))
    assert most < 6 * 64 * 20_000  # a few batches; with views it is all 60
