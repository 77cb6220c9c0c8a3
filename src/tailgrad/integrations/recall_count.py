"""Recall of every class, counted batch by batch and over all processes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tailgrad.distributed import sum_over_ranks


class RecallCount:
    """``recall_k``: the share of class k's examples that are found.

    Args:
        class_names: K names.

    Example:
        >>> count = RecallCount(["cat", "dog", "eel"])
        >>> count.add(torch.tensor([[2.0, 1.0, 0.0], [3.0, 1.0, 0.0]]), torch.tensor([0, 1]))
        >>> count.numbers()
        {'recall/cat': 1.0, 'recall/dog': 0.0, 'accuracy': 0.5, 'balanced_accuracy': 0.5}
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self.class_names = tuple(class_names)
        self.counts = torch.zeros(2, len(self.class_names), dtype=torch.int64)

    def add(self, logits: Tensor, target: Tensor) -> None:
        """Count a batch: logits [N, K] and class indices [N]."""
        hits = target[logits.argmax(1) == target]
        both = [found.bincount(minlength=len(self.class_names)) for found in (hits, target)]
        self.counts = self.counts.to(target.device) + torch.stack(both)

    def numbers(self) -> dict[str, float]:
        """Recall of each class that has an example, their mean, and the accuracy, of all processes."""
        found, there = sum_over_ranks(self.counts).tolist()
        names = zip(self.class_names, found, there, strict=True)
        recall = {f"recall/{name}": hits / n for name, hits, n in names if n}
        whole, mean = sum(found) / max(1, sum(there)), sum(recall.values()) / max(1, len(recall))
        return {**recall, "accuracy": whole, "balanced_accuracy": mean}
