"""From gradients to updates: methods that combine the gradients of classes, or balance what classes send.

Combiners. A ``Combiner`` turns class gradients ``rows`` [m, P] into one direction [P]. It is written as
``weights(gram [m, m]) -> [m]``, the weights on the rows, because every method here needs nothing but their
inner products. Rows of zeros never reach it. Its ``scale`` says how long the result is: with ``"mean"``
(default) m equal rows give that row back, so that a learning rate keeps its meaning; with ``"published"``
it is the formula as printed. ``UPGrad`` and ``MGDA`` take no ``scale``: for them both are the same.

    direction = PCGrad()(rows)

In a training loop a combiner goes into an optimiser; ``closure`` returns one loss an example and the
class indices and does not call backward:

    optimizer = ClassGradientOptimizer(model, torch.optim.SGD(model.parameters(), lr=0.1), PCGrad())
    optimizer.step(lambda: (criterion(model(x), y), y))        # criterion with reduction="none"

Sharpness. ``SAM`` takes the gradient at perturbed weights, in further passes over the batch; its rules
``ImbSAM``, ``CCSAM`` and ``FocalSAM`` lean to rare classes, ``ConflictSAM`` to those that others oppose, and
``AsymmetricSAM`` chooses among all by name:

    optimizer = AsymmetricSAM(model, torch.optim.SGD(model.parameters(), lr=0.1), class_counts, rho=0.05)
    optimizer.step(lambda: (criterion(model(x), y), y))

Beside them stand ``ShareBalancer``, which scales class gradients at the features in an ordinary backward
pass, ``GapWeights``, which turns losses by class into one objective, and ``MaxNorm``, which projects a
classifier's rows into a ball.

To add a combiner or a rule of SAM: one file with one subclass of ``Combiner`` or ``SharpnessRule``, one
export line here, one test file; a rule's name goes into ``asymmetric_sam.VARIANTS``.
"""

from tailgrad.optim.asymmetric_sam import AsymmetricSAM
from tailgrad.optim.cagrad import CAGrad
from tailgrad.optim.cc_sam import CCSAM
from tailgrad.optim.class_gradient_optimizer import ClassGradientOptimizer
from tailgrad.optim.combiner import Combiner
from tailgrad.optim.conflict_sam import ConflictSAM
from tailgrad.optim.focal_sam import FocalSAM
from tailgrad.optim.gap_weights import GapWeights
from tailgrad.optim.grad_norm import GradNorm
from tailgrad.optim.imb_sam import ImbSAM
from tailgrad.optim.max_norm import MaxNorm
from tailgrad.optim.mgda import MGDA
from tailgrad.optim.pcgrad import PCGrad
from tailgrad.optim.pcngd import PCNGD
from tailgrad.optim.sam import SAM
from tailgrad.optim.share_balancer import ShareBalancer
from tailgrad.optim.upgrad import UPGrad

__all__ = [
    "CCSAM",
    "MGDA",
    "PCNGD",
    "SAM",
    "AsymmetricSAM",
    "CAGrad",
    "ClassGradientOptimizer",
    "Combiner",
    "ConflictSAM",
    "FocalSAM",
    "GapWeights",
    "GradNorm",
    "ImbSAM",
    "MaxNorm",
    "PCGrad",
    "ShareBalancer",
    "UPGrad",
]
