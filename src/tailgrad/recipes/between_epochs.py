"""What a run does between two epochs, gathered from the parts of the method that ask for it."""

from collections.abc import Callable

from tailgrad.recipes.assign_classes import assigning
from tailgrad.recipes.follow_conflict import following
from tailgrad.recipes.job import Job


def between_epochs(job: Job) -> Callable[[int], None] | None:
    """What the run does after an epoch, told its number; None for nothing.

    Raises:
        InputError: there are more classes than conflict is measured for.

    Example: see ``recipes.train``.
    """
    asked = [do for do in (assigning(job), following(job)) if do is not None]
    if not asked:
        return None

    def do_all(epoch: int) -> None:
        for do in asked:
            do(epoch)

    return do_all
