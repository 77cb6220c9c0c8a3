"""The composition root: one validated configuration, named regimes, methods and recipes, and what runs them.

A **regime** fixes data, backbone, schedule, augmentation, batch, epochs and precision; a **method** sets only
head, loss and what combines the gradients of classes; a **recipe** is one of each. All three are YAML files
in the folders beside this file, and a path to a file of the user's own works wherever a name does. To add a
method: write its loss, head or combiner (one file, see those folders), then ``methods/<name>.yaml``; command
line and documentation find it by themselves.
"""

from typing import TYPE_CHECKING

from tailgrad.lazy import lazy_package

if TYPE_CHECKING:
    from tailgrad.recipes.catalogue import Entry, catalogue
    from tailgrad.recipes.checkup import checkup
    from tailgrad.recipes.compare import Study, compare
    from tailgrad.recipes.compose import compose, named, overlay, parse_set
    from tailgrad.recipes.config import Config
    from tailgrad.recipes.diagnose import diagnose
    from tailgrad.recipes.follow import follow
    from tailgrad.recipes.new_recipe import new_recipe
    from tailgrad.recipes.predict import predict
    from tailgrad.recipes.prediction import Prediction
    from tailgrad.recipes.reliability import reliability
    from tailgrad.recipes.run_config import Run
    from tailgrad.recipes.run_folder import RunFolder
    from tailgrad.recipes.table import table
    from tailgrad.recipes.train import train

__all__ = [
    "Config",
    "Entry",
    "Prediction",
    "Run",
    "RunFolder",
    "Study",
    "catalogue",
    "checkup",
    "compare",
    "compose",
    "diagnose",
    "follow",
    "named",
    "new_recipe",
    "overlay",
    "parse_set",
    "predict",
    "reliability",
    "table",
    "train",
]

# On use: a misspelt option is refused before a network is loaded.
__getattr__ = lazy_package(
    __name__,
    {
        "Config": "config",
        "Entry": "catalogue",
        "Prediction": "prediction",
        "Run": "run_config",
        "RunFolder": "run_folder",
        "Study": "compare",
        "catalogue": "catalogue",
        "checkup": "checkup",
        "compare": "compare",
        "compose": "compose",
        "diagnose": "diagnose",
        "follow": "follow",
        "named": "compose",
        "new_recipe": "new_recipe",
        "overlay": "compose",
        "parse_set": "compose",
        "predict": "predict",
        "reliability": "reliability",
        "table": "table",
        "train": "train",
    },
)
