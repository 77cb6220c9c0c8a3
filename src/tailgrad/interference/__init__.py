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
from tailgrad.interference.gates import Gates, Overlap
from tailgrad.interference.geometry import Geometry
from tailgrad.interference.measure import measure
from tailgrad.interference.result import Interference, Pair

__all__ = ["Branches", "Gates", "Geometry", "Interference", "Overlap", "Pair", "measure"]
