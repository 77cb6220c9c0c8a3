"""How far a training is."""


def done(epoch: int, epochs: int) -> float:
    """0 in epoch 1, 1 in the last and after it; 1 where there is only one.

    Example:
        >>> [done(epoch, 5) for epoch in (1, 3, 5, 9)], done(1, 1)
        ([0.0, 0.5, 1.0, 1.0], 1.0)
    """
    if epochs == 1:
        return 1.0
    return min(max(epoch - 1, 0) / (epochs - 1), 1.0)
