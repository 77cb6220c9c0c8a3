"""The composition root: one validated configuration, named regimes, methods and recipes, and what runs them.

A **regime** fixes data, backbone, schedule, augmentation, batch, epochs and precision; a **method** sets only
head, loss and what combines the gradients of classes; a **recipe** is one of each. All three are YAML files
in the folders beside this file, and a path to a file of the user's own works wherever a name does. To add a
method: write its loss, head or combiner (one file, see those folders), then ``methods/<name>.yaml``; command
line and documentation find it by themselves.
"""

from tailgrad.recipes.catalogue import Entry, catalogue
from tailgrad.recipes.compare import Study, compare
from tailgrad.recipes.compose import compose, named, overlay, parse_set
from tailgrad.recipes.config import Config
from tailgrad.recipes.diagnose import diagnose
from tailgrad.recipes.predict import Prediction, predict
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
    "compare",
    "compose",
    "diagnose",
    "named",
    "overlay",
    "parse_set",
    "predict",
    "table",
    "train",
]
