"""Per-class normalised gradients."""

import numpy as np

from tailgrad.interference.gram import Array
from tailgrad.optim.combiner import Combiner


class PCNGD(Combiner):
    """``d = r sum_k g_k / |g_k|``: every class pulls equally hard.

    ``r`` is 1 with ``scale="published"`` and ``(1/m) mean_k |g_k|`` with ``"mean"``, which gives the plain
    mean of the class gradients back where all are equally long. No multiple of a class's loss, and so no
    class weight, changes the direction. With small batches the direction of a rare class is noisy; its
    authors combine it with oversampling.

    Args:
        scale: ``"mean"`` or ``"published"``.

    Source: Francazi, Baity-Jesi, Lucchi, "A Theoretical Analysis of the Learning Dynamics under Class
    Imbalance" (ICML 2023), PCNGD and PCNSGD; the mean scale is ours.

    Example:
        >>> import torch
        >>> PCNGD(scale="published")(torch.tensor([[1.0, 0.0], [-1.0, 1.0]]))
        tensor([0.2929, 0.7071])
    """

    def weights(self, gram: Array) -> Array:
        """Inverse norms [m]."""
        norms = np.sqrt(np.diagonal(gram))
        length = norms.mean() / len(norms) if self.scale == "mean" else 1.0
        result: Array = length / norms
        return result
