"""Which classes pull the shared parameters in opposing directions, where, and beyond what chance explains.

Protocol: ``measure(model, data, parameters="backbone") -> Interference``. ``model`` is any classifier that
returns logits [N, K]; ``data`` is an iterable of (inputs, target) batches or a map-style data set; the result
holds NumPy arrays and names only and knows nothing of models, devices or runs.

    result = measure(model, loader)
    result.conflict    # [K, K] cosines between class gradients
    result.null        # [K, K] the same cosines if features carried no class information
    result.excess      # [K, K] the difference, which is what may be read
    print(result.summary())

To add a quantity: one file with a small frozen dataclass of arrays and the function that computes it, one
field of ``Interference`` that is None where it does not apply, one line in ``measure``, one test file. What
has to be seen during the pass over the data is an observer (see ``geometry.py``): the data are read once.
"""

from tailgrad.interference.branches import Branches
from tailgrad.interference.class_gradients import class_gradients
from tailgrad.interference.class_groups import agreement, group_classes
from tailgrad.interference.collapse import Collapse
from tailgrad.interference.compare import compare
from tailgrad.interference.comparison import Comparison
from tailgrad.interference.contributions import LogitPull
from tailgrad.interference.control import Control
from tailgrad.interference.curvature import Curvature, curvature
from tailgrad.interference.descent import Descent, InitialDrop, initial_drop
from tailgrad.interference.effect import Effect
from tailgrad.interference.gates import Gates, Overlap
from tailgrad.interference.geometry import Geometry
from tailgrad.interference.gradients import ClassGradients, Folds
from tailgrad.interference.measure import Extras, measure
from tailgrad.interference.monitor import Monitor
from tailgrad.interference.noise import DirectionalNoise
from tailgrad.interference.opposition import opposition
from tailgrad.interference.result import Interference, Pair
from tailgrad.interference.tiles import TiledInterference
from tailgrad.interference.update import Update

__all__ = [
    "Branches",
    "ClassGradients",
    "Collapse",
    "Comparison",
    "Control",
    "Curvature",
    "Descent",
    "DirectionalNoise",
    "Effect",
    "Extras",
    "Folds",
    "Gates",
    "Geometry",
    "InitialDrop",
    "Interference",
    "LogitPull",
    "Monitor",
    "Overlap",
    "Pair",
    "TiledInterference",
    "Update",
    "agreement",
    "class_gradients",
    "compare",
    "curvature",
    "group_classes",
    "initial_drop",
    "measure",
    "opposition",
]
