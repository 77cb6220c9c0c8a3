import pytest
import torch
from torch import nn

from tailgrad.checks import InputError
from tailgrad.heads import CSBA, Cosine, Linear, tau_normalize


def _head() -> Linear:
    head = Linear(2, 3)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]]))
        head.bias.fill_(5.0)
    return head


@pytest.mark.parametrize(
    ("tau", "rows"),
    [
        (0.5, [[1.341641, 1.788854], [0, 1.414214], [1, 0]]),
        (1.0, [[0.6, 0.8], [0, 1], [1, 0]]),
        (0.0, [[3, 4], [0, 2], [1, 0]]),
    ],
)
def test_worked_numbers(tau: float, rows: list[list[float]]) -> None:
    torch.testing.assert_close(tau_normalize(_head(), tau).weight, torch.tensor(rows).float())


def test_tau_zero_keeps_the_logits_without_the_bias_and_the_old_head() -> None:
    head, features = _head(), torch.randn(4, 2)
    new = tau_normalize(head, 0.0)
    torch.testing.assert_close(new(features), head(features) - 5)
    tau_normalize(head, 1.0)
    assert torch.equal(head.weight, _head().weight)
    head.load_state_dict(new.state_dict())
    torch.testing.assert_close(head(features), new(features))


def test_rows_of_zeros_and_plain_layers() -> None:
    layer = nn.Linear(2, 3, bias=False).double()
    with torch.no_grad():
        layer.weight[0] = 0
    new = tau_normalize(layer, 2.0)
    assert new.weight.dtype == torch.float64
    assert new.weight[0].tolist() == [0, 0]
    torch.testing.assert_close(new.weight[1].norm(), 1 / layer.weight[1].norm())


@pytest.mark.parametrize("head", [CSBA(8, 3), Cosine(8, 3)])
def test_heads_without_row_lengths_are_refused(head: nn.Module) -> None:
    with pytest.raises(InputError, match=f"head must be linear, got {type(head).__name__}"):
        tau_normalize(head, 1.0)
    with pytest.raises(InputError, match=r"tau must be in .* got -1"):
        tau_normalize(_head(), -1.0)
