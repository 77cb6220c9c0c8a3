"""What tuned parameters maximise: balanced accuracy or macro-F1 of hard predictions."""

from torch import Tensor

CRITERIA = ("balanced_accuracy", "macro_f1")


def score(predicted: Tensor, target: Tensor, num_classes: int, criterion: str) -> float:
    """Balanced accuracy or macro-F1 over the classes that occur in ``target``.

    ``mean_k TP_k / n_k`` or ``mean_k 2 TP_k / (n_k + predicted_k)``.

    Args:
        predicted: class indices [N].
        target: class indices [N].
        num_classes: K.
        criterion: one of ``CRITERIA``.

    Example:
        >>> import torch
        >>> both = torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1])
        >>> score(*both, 2, "balanced_accuracy"), round(score(*both, 2, "macro_f1"), 3)
        (0.75, 0.667)
    """
    support = target.bincount(minlength=num_classes)
    hits = target[predicted == target].bincount(minlength=num_classes)
    if criterion == "balanced_accuracy":
        each = hits / support
    else:
        each = 2 * hits / (support + predicted.bincount(minlength=num_classes))
    return float(each[support > 0].double().mean())
