import copy
import threading

import pytest
import torch
from torch import Tensor, nn

from tailgrad.losses import frozen
from tailgrad.losses.frozen import may_update


class _Counting(nn.Module):
    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, logits: Tensor) -> Tensor:
        if may_update(self):
            self.seen += len(logits)
        return logits.sum()


class _Wrapping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.base = _Counting()

    def forward(self, logits: Tensor) -> Tensor:
        value: Tensor = self.base(logits)
        return value


def test_state_changes_only_outside_frozen_in_training_with_gradients() -> None:
    loss = _Counting()
    loss(torch.ones(3))
    with frozen(loss):
        loss(torch.ones(3))
    with torch.no_grad():
        loss(torch.ones(3))
    loss.eval()
    loss(torch.ones(3))
    assert loss.seen.item() == 3
    loss.train()
    loss(torch.ones(3))
    assert loss.seen.item() == 6


def test_reaches_wrapped_losses_and_nests() -> None:
    loss = _Wrapping()
    with frozen(loss):
        with frozen(loss.base):
            pass
        loss(torch.ones(2))
    assert loss.base.seen.item() == 0
    loss(torch.ones(2))
    assert loss.base.seen.item() == 2


def test_other_losses_go_on_and_errors_release() -> None:
    one, other = _Counting(), _Counting()
    with frozen(one):
        other(torch.ones(1))
    with pytest.raises(TypeError), frozen(one):
        other(None)
    one(torch.ones(1))
    assert (one.seen.item(), other.seen.item()) == (1, 1)


def test_plain_functions_are_left_alone() -> None:
    with frozen(torch.nn.functional.cross_entropy):
        assert may_update(_Counting())


@pytest.mark.filterwarnings("ignore")  # of the compiler's own making
def test_a_compiled_loss_obeys() -> None:
    torch.compiler.reset()
    loss = _Wrapping()
    compiled = torch.compile(loss, backend="eager", fullgraph=True)
    logits, seen = torch.ones(2, requires_grad=True), []
    for context in (None, frozen(loss), None, frozen(), None, frozen(compiled), frozen(loss.base), None):
        if context is None:
            compiled(logits)
        else:
            with context:
                compiled(logits)
        seen.append(loss.base.seen.item())
    assert seen == [2, 2, 4, 4, 6, 6, 6, 8]


def test_copies_made_inside_and_other_threads_are_free() -> None:
    loss, found = _Counting(), []
    with frozen(loss), frozen():
        twin = copy.deepcopy(loss)
        thread = threading.Thread(target=lambda: found.append((may_update(loss), may_update(twin))))
        thread.start()
        thread.join()
        assert not may_update(twin)
    assert found == [(False, True)]
    assert may_update(loss)
    assert set(loss.state_dict()) == {"seen"}
