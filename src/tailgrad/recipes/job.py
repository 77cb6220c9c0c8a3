"""One run in progress: what its stages hand to one another."""

from dataclasses import dataclass

from tailgrad.augment import Normalize
from tailgrad.correction_ledger import Ledger
from tailgrad.engine import Learner
from tailgrad.recipes.config import Config
from tailgrad.recipes.prepare import Prepared
from tailgrad.recipes.run_folder import RunFolder
from tailgrad.recipes.talk import Talk


@dataclass(frozen=True)
class Job:
    """Everything a stage of a run reads.

    Args:
        config: settled configuration.
        folder: where results go.
        ready: split and decoded data.
        learner: the network with what trains it.
        normalize: stored images -> inputs.
        say: who listens.
        prior: what the method makes of the class prior.

    Example: see ``recipes.train``.
    """

    config: Config
    folder: RunFolder
    ready: Prepared
    learner: Learner
    normalize: Normalize
    say: Talk
    prior: Ledger
