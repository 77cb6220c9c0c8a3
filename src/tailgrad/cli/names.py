"""Names that a shell completes: what can be named, read when the key is pressed and not before.

Nothing here may print or fail: a shell would show it in the middle of a line.
"""

from collections.abc import Iterable, Iterator


def methods(incomplete: str) -> list[str]:
    """Methods that begin with what was typed.

    Example:
        >>> methods("csba_f")
        ['csba_frozen_gates']
    """
    return _beginning(incomplete, _overlays("methods"))


def several_methods(incomplete: str) -> list[str]:
    """The same for the last of several names between commas; those before it are not offered again.

    Example:
        >>> several_methods("baseline,csba_f")
        ['baseline,csba_frozen_gates']
    """
    before, comma, last = incomplete.rpartition(",")
    taken = set(before.split(","))
    return [f"{before}{comma}{name}" for name in methods(last) if name not in taken]


def regimes(incomplete: str) -> list[str]:
    """Regimes that begin with what was typed.

    Example:
        >>> regimes("digits-m")
        ['digits-multi']
    """
    return _beginning(incomplete, _overlays("regimes"))


def recipes(incomplete: str) -> list[str]:
    """Recipes that begin with what was typed.

    Example:
        >>> recipes("qui")
        ['quick']
    """
    return _beginning(incomplete, _overlays("recipes"))


def overlays(incomplete: str) -> list[str]:
    """Methods, regimes and recipes; to list components as well would take seconds.

    Example:
        >>> overlays("csba-paper-a")
        ['csba-paper-alt']
    """
    names = [name for kind in ("methods", "regimes", "recipes") for name in _overlays(kind)]
    return _beginning(incomplete, dict.fromkeys(names))


def studies(incomplete: str) -> list[str]:
    """Studies that come with the package.

    Example:
        >>> studies("csba-p")
        ['csba-pv']
    """
    from tailgrad.evidence.study_file import studies as packaged

    return _beginning(incomplete, packaged())


def keys(incomplete: str) -> list[str]:
    """Keys of the configuration, each with the ``=`` after which its value goes.

    Example:
        >>> keys("optim.l")
        ['optim.lr=']
    """
    from tailgrad.recipes.config import Config

    return _beginning(incomplete, _keys(Config))


def sources(incomplete: str) -> list[str]:
    """Sources that need no path; folders are completed by the shell where none of these fits.

    Example:
        >>> sources("digits")
        ['digits-lt', 'digits-multi-lt']
    """
    images = ("cifar10-lt", "cifar100-lt", "digits-lt", "digits-multi-lt", "patterns-multi-lt")
    return _beginning(incomplete, ("breast-cancer-lt", *images, "wine-lt"))


def loggers(incomplete: str) -> list[str]:
    """Programs that a run can be followed in.

    Example:
        >>> loggers("w")
        ['wandb']
    """
    from tailgrad.recipes.config import LOGGERS

    return _beginning(incomplete, LOGGERS)


def _overlays(kind: str) -> Iterable[str]:
    from tailgrad.recipes.compose import named

    return named(kind)


def _keys(section: object, prefix: str = "") -> Iterator[str]:
    """Sections are entered, lists and free options are not."""
    for name, field in getattr(section, "model_fields", {}).items():
        if hasattr(field.annotation, "model_fields"):
            yield from _keys(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}="


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
