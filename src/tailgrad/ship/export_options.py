"""What is asked of an export, and what that makes of the description."""

from dataclasses import dataclass

from tailgrad.checks import InputError, in_range
from tailgrad.recipes.predict_labels import is_of_labels
from tailgrad.recipes.restore import Restored
from tailgrad.recipes.run_folder import RunFolder
from tailgrad.recipes.waiting import Say
from tailgrad.ship.calibration import calibrate
from tailgrad.ship.description import Description
from tailgrad.ship.run_facts import described, own_calibration
from tailgrad.ship.target_prior import Frequencies, prior_shift, target_prior
from tailgrad.untrusted import of_shape


@dataclass(frozen=True)
class Options:
    """What is asked of an export.

    Args:
        int8: quantise.
        calibrate: fit a temperature where the run has none.
        target: class frequencies at the place of use, or None.
        abstain: least probability of a decision that is stored, or None.

    Example:
        >>> Options().int8
        False
    """

    int8: bool = False
    calibrate: bool = False
    target: Frequencies | None = None
    abstain: float | None = None


def described_with(folder: RunFolder, network: Restored, options: Options, say: Say) -> Description:
    """The description of a run with what is asked of its export, before anything is measured.

    Args:
        folder: of a finished run.
        network: restored from it.
        options: what is asked.
        say: told what stands against it.

    Raises:
        InputError: the run is not one that tailgrad wrote, or the options do not fit it.

    Example: see ``ship.export``.
    """
    if is_of_labels(folder.path):
        _check_of_labels(options)
        return described(folder, network, own_calibration(network))
    about = described(folder, network, own_calibration(network))
    if options.abstain is not None:
        in_range("abstain", options.abstain, 0, 1)
    if about.calibration != "none" and options.calibrate:
        say(f"the run is calibrated already: {about.calibration}")
    if about.calibration == "none" and options.calibrate:
        about = described(folder, network, calibrate(folder, about.prior, about.counts))
    elif about.calibration == "none":
        say(
            "the run is not calibrated: its probabilities are the network's own; --calibrate fits a "
            "temperature"
        )
    if options.target is not None:
        target = target_prior(options.target, about.names, about.counts)
        prior_shift(about.prior, target)
        with of_shape(folder.result_file):
            say(ledger_words(about))
        if about.calibration == "none":
            say(
                "warning: class frequencies are re-targeted on logits that are not calibrated, which may "
                f"shift them too far; add --calibrate, and check on labelled {about.kind} from the place of "
                "use"
            )
        about = about.model_copy(update={"target_prior": target})
    return about.model_copy(update={"abstain": options.abstain})


def _check_of_labels(options: Options) -> None:
    """Raises: InputError: something is asked for that is of one class an image."""
    asked = {"calibrate": options.calibrate or None, "target_prior": options.target}
    for name, value in (asked | {"abstain": options.abstain}).items():
        if value is not None:
            raise InputError(
                f"{name} must be left out for a run of several labels an image, got {value!r}; every label "
                "has a threshold of its own"
            )


def ledger_words(about: Description) -> str:
    """What corrected the class prior before the target prior does, from the ledger.

    Example: see ``ship.export``.
    """
    components = about.ledger.get("components", [])
    moves = [one["name"] for one in components if any(abs(lift) > 1e-9 for lift in one["lift"])]
    unknown = [one["name"] for one in components if one["kind"] == "listed"]
    prior = about.prior or ()
    shares = sorted(zip(prior, about.names, strict=True), reverse=True)
    ends = f"{shares[0][0]:.3g} for {shares[0][1]}, {shares[-1][0]:.3g} for {shares[-1][1]}"
    said = f"corrected already by {' and '.join(moves)}" if moves else "corrected by nothing"
    note = f"; {' and '.join(unknown)} moves it by an amount that is not known" if unknown else ""
    return f"ledger: the class prior was {said}, the logits stand for {ends}{note}; shifted from there"
