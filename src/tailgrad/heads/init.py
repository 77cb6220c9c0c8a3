"""Initial weights shared by the heads and the tri-path backbone."""

from torch import nn

from tailgrad.checks import in_range


def kaiming_uniform(module: nn.Module, slope: float = 0.01) -> None:
    """Draw the weights of every convolution and linear layer inside ``module``; set their biases to 0.

    ``w ~ U(-b, b)`` with ``b = sqrt(6 / ((1 + slope^2) fan_in))``.

    Args:
        module: changed in place.
        slope: negative slope of the leaky rectifier, 0 to 1.

    Raises:
        InputError: ``slope`` is outside its range.

    Source: arXiv 2606.05740 states Kaiming uniform; fan-in and the leaky rectifier's gain are assumed.

    Example:
        >>> layer = nn.Linear(600, 4)
        >>> kaiming_uniform(layer, slope=0.0)
        >>> bool(layer.weight.abs().max() <= 0.1), bool(layer.bias.any())
        (True, False)
    """
    in_range("slope", slope, 0, 1)
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, a=slope, nonlinearity="leaky_relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
