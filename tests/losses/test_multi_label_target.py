import pytest
import torch
from torch import Tensor

from tailgrad.checks import InputError
from tailgrad.losses.multi_label_target import multi_label

Z = torch.zeros(2, 3)


@pytest.mark.parametrize(
    ("logits", "target", "words"),
    [
        (torch.zeros(3), Z, r"logits must be .* \[3\]"),
        (torch.zeros(0, 3), torch.zeros(0, 3), r"\[0, 3\]"),
        (torch.zeros(2, 3, dtype=torch.long), Z, "torch.int64"),
        (torch.zeros(2, 4), torch.zeros(2, 4), "each of the 3 classes counted, got 4"),
        (Z, torch.tensor([0, 2]), r"got torch.int64 \[2\]; turn class indices into rows"),
        (Z, torch.tensor([[0, 1, 2], [0, 0, 0]]), r"target\[0, 2\]=2"),
        (Z, torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.3, 0.0]]), r"target\[1, 1\]=0.3"),
        (Z, torch.full((2, 3), torch.nan), r"target\[0, 0\]=nan"),
    ],
)
def test_what_is_wrong_is_named(logits: Tensor, target: Tensor, words: str) -> None:
    with pytest.raises(InputError, match=words):
        multi_label(logits, target, 3)


@pytest.mark.parametrize(
    ("given", "wanted"), [(torch.bfloat16, torch.float32), (torch.float64, torch.float64)]
)
def test_both_come_back_in_one_wide_type(given: torch.dtype, wanted: torch.dtype) -> None:
    logits, target = multi_label(Z.to(given), torch.tensor([[True, False, True]] * 2))
    assert (logits.dtype, target.dtype) == (wanted, wanted)
    assert target.tolist() == [[1, 0, 1]] * 2
