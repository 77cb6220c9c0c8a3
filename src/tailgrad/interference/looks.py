"""Who looks on during the pass of a measurement: the pool of the null, features, gates."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tailgrad.interference.gates import GateMeans, gate_means
from tailgrad.interference.geometry import FeatureMeans
from tailgrad.interference.null import Reservoir
from tailgrad.interference.observer import Observer
from tailgrad.interference.source import Source


@dataclass(frozen=True, slots=True)
class Looks:
    """Observers of one pass.

    Args:
        pool: sample of the inputs, for the null.
        features: class means of the pooled features.
        gates: class means of the attention gates, where the network has any.

    Example:
        >>> Looks(Reservoir(1, 0), FeatureMeans(2), None).gates is None
        True
    """

    pool: Reservoir
    features: FeatureMeans
    gates: GateMeans | None

    def observers(self) -> list[Observer]:
        """All of them."""
        return [self.pool, self.features, *([self.gates] if self.gates else [])]


@contextmanager
def watching(source: Source) -> Iterator[Looks]:
    """Observers for a source, attached to the network for as long as the context lasts.

    Example: see ``measure``.
    """
    num_classes = len(source.class_names)
    with gate_means(source.network.model, num_classes) as gates:
        pool = Reservoir(max(1, min(16, 160 // num_classes)), source.order.seed)
        yield Looks(pool, FeatureMeans(num_classes), gates)
