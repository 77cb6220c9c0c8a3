"""The network of a table as it is shipped: encoded rows in, logits out."""

import copy
from collections.abc import Sequence

from torch import Tensor, nn

from tailgrad.recipes.restore import Restored
from tailgrad.ship.attention import with_free_attention
from tailgrad.ship.feed import CATEGORIES, NUMBERS
from tailgrad.ship.fused import fused
from tailgrad.types import TableInputs


class DeployedRows(nn.Module):
    """``posthoc(head(backbone(rows)))`` with the head fused; its inputs are the tensors of the rows.

    Args:
        network: a restored network for rows; left as it is.
        inputs: names of the tensors that a call gets, in their order: ``numbers``, ``categories`` or both.

    Example: see ``ship.export``.
    """

    def __init__(self, network: Restored, inputs: Sequence[str]) -> None:
        super().__init__()
        self.backbone = with_free_attention(copy.deepcopy(network.model.backbone))
        self.head = fused(network.model.head)
        self.posthoc = copy.deepcopy(network.posthoc)
        self.inputs = tuple(inputs)
        self.eval().requires_grad_(False)

    def forward(self, *tensors: Tensor) -> Tensor:
        """Logits [N, K] of numbers float32 [N, F] and categories int64 [N, C]."""
        rows = as_rows(dict(zip(self.inputs, tensors, strict=True)))
        logits: Tensor = self.head(self.backbone.pool(self.backbone(rows)))
        return self.posthoc(logits) if len(self.posthoc.steps) else logits


def as_rows(tensors: dict[str, Tensor]) -> TableInputs:
    """Rows of the tensors that there are; a kind that is left out has no columns.

    Example:
        >>> import torch
        >>> as_rows({"categories": torch.ones(2, 3, dtype=torch.int64)}).numbers.shape
        torch.Size([2, 0])
    """
    numbers, categories = tensors.get(NUMBERS), tensors.get(CATEGORIES)
    if numbers is None:
        numbers = tensors[CATEGORIES][:, :0].float()
    if categories is None:
        categories = numbers[:, :0].long()
    return TableInputs(numbers, categories)
