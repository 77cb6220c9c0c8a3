"""What is wrong with a study, asked before anything is trained."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from tailgrad.checks import InputError, nearest, one_of
from tailgrad.data import Source
from tailgrad.evidence.claim import Claim
from tailgrad.evidence.study_file import Group, StudyFile
from tailgrad.recipes.compare import regime_only
from tailgrad.recipes.compose import merge
from tailgrad.recipes.conclude import GRADIENT_METRICS, LABEL_METRICS, METRICS
from tailgrad.recipes.config import Config
from tailgrad.recipes.configure import configure

OF_CLASSES = ("precision", "recall", "f1", "average_precision", "auc")
_METRICS = (
    *METRICS,
    *LABEL_METRICS,
    *GRADIENT_METRICS,
    "focus_f1",
    "g_mean",
    "nll",
    "tuned_balanced_accuracy",
    "tuned_accuracy",
)


def check_claims(plan: StudyFile) -> None:
    """Check that every claim of a study as written speaks of groups, methods and metrics that there are.

    Raises:
        InputError: one does not.

    Example:
        >>> claim = Claim(id="gain", text="a", source="ours", group="digts", method="csba", above=0)
        >>> check_claims(StudyFile(name="mine", data={"digits": "digits-lt"}, methods=("csba",),
        ...                        claims=(claim,)))
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: group of claim 'gain' must be a known name, ... did you mean 'digits'?
    """
    groups = plan.expanded()
    for claim in plan.claims:
        if claim.figure is None:
            _check_claim(claim, groups)
        elif plan.analysis is None:
            raise InputError(
                f"figure of claim {claim.id!r} needs an analysis in study {plan.name!r}, got none; name one, "
                "or give group, method and metric"
            )


def _check_claim(claim: Claim, groups: Mapping[str, Group]) -> None:
    where = f"of claim {claim.id!r}"
    group = groups[one_of(f"group {where}", str(claim.group), groups)]
    one_of(f"method {where}", str(claim.method), group.overlays())
    if claim.against is not None:
        other = one_of(f"against_group {where}", claim.against_group or str(claim.group), groups)
        one_of(f"against {where}", claim.against, groups[other].overlays())
    kind, of, _ = claim.metric.partition(" of ")
    one_of(f"metric {where}", kind, OF_CLASSES if of else _METRICS)
    if claim.metric == "focus_f1" and group.focus is None:
        raise InputError(
            f"metric {where} must be one of group {claim.group!r}, got focus_f1; give the group a focus"
        )


def check_analysis(name: str) -> None:
    """Check that there is such an analysis.

    Raises:
        InputError: there is none.

    Example:
        >>> check_analysis("no_such_thing")
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: analysis must be a module of tailgrad.evidence.analyses, got ...
    """
    if find_spec(f"tailgrad.evidence.analyses.{name}") is None:
        raise InputError(
            f"analysis must be a module of tailgrad.evidence.analyses, got {name!r}; mend the name"
        )


@dataclass
class GroupCheck:
    """Composes what the groups of a study would train, each source opened once.

    Args:
        plan: the study.
        sources: what fills its slots.
        above: overrides of the user.

    Example:
        >>> plan = StudyFile(name="mine", data={"digits": "digits-lt"}, methods=("csba", "cbsa"))
        >>> GroupCheck(plan, {"digits": "digits-lt"}, {})("digits", plan.expanded()["digits"])
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: group 'digits' of study 'mine': method must be a known name or a YAML ...
    """

    plan: StudyFile
    sources: Mapping[str, str]
    above: Mapping[str, Any]
    opened: dict[str, Source] = field(default_factory=dict)

    def __call__(self, name: str, group: Group) -> Config:
        """Check one group; the configuration of its first method.

        Raises:
            InputError: a method, a regime, a key or a source of it is wrong.
        """
        try:
            config, source = self._open(group)
            self._classes(name, group, source)
        except InputError as error:
            raise InputError(f"group {name!r} of study {self.plan.name!r}: {error}") from error
        return config

    def _open(self, group: Group) -> tuple[Config, Source]:
        keys = regime_only(merge(group.overrides(), self.above))
        source = self.sources.get(group.data, group.data)
        place = f"{source} {keys.get('data')}"
        configs = []
        for method in group.overlays().values():
            config, self.opened[place] = configure(
                source, opened=self.opened.get(place), method=method, regime=group.regime, overrides=keys
            )
            configs.append(config)
        return configs[0], self.opened[place]

    def _classes(self, name: str, group: Group, source: Source) -> None:
        """Check the class in focus, and those that claims about the group speak of."""
        focus = merge(group.overrides(), self.above).get("focus")
        if focus is not None:
            one_of("focus", str(focus), source.class_names)
        for claim in self.plan.claims:
            _, of, wanted = claim.metric.partition(" of ")
            if claim.group == name and of and wanted not in source.class_names:
                raise InputError(
                    f"metric of claim {claim.id!r} must name a class, got {wanted!r}; "
                    f"{nearest(wanted, source.class_names)}"
                )
