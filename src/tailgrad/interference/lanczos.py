"""Both ends of the spectrum of a symmetric matrix that is known only by its products with vectors."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from tailgrad.interference.gram import Array

Product = Callable[[Array], Array]
_DENSE = 32  # below this many rows the matrix itself costs no more than the iteration
_BASIS = 20  # Lanczos vectors held, each of the length of the parameters
_TOLERANCE = 1e-4  # of half the largest magnitude; the error of an eigenvalue is about its square
_RESTARTS = 50
_POWER_STEPS = 8


class Ends(NamedTuple):
    """Smallest and largest eigenvalue, with how well each fits.

    Args:
        values: (smallest, largest).
        residuals: ``|H v - lambda v|`` for unit ``v``: an eigenvalue lies at most this far from each value.
        converged: False where the iteration was cut off; the values are then the best of a short one.

    Example:
        >>> Ends(np.array([-1.0, 2]), np.zeros(2), True).values[1].item()
        2.0
    """

    values: Array
    residuals: Array
    converged: bool


def ends(product: Product, size: int, seed: int = 0) -> Ends:
    """The two ends by SciPy's Lanczos method, from one Krylov space.

    ``eigsh`` stops relative to each eigenvalue, which never happens at one that is zero (a loss that is
    linear in some direction). So the matrix is shifted by half its dominant eigenvalue, after which both ends
    are at least as large as the shift, and scaled to about 1.

    Args:
        product: ``v [size] -> H v [size]``, in float64.
        size: rows of ``H``, at least 1.
        seed: draws the start vector.

    Source: implicitly restarted Lanczos (ARPACK) through SciPy; shift and scale are ours.

    Example:
        >>> diagonal = np.linspace(-1.0, 3.0, 100)
        >>> ends(lambda v: diagonal * v, 100).values.round(6)
        array([-1.,  3.])
    """
    if size <= _DENSE:
        return _dense(product, size)
    start = np.random.default_rng(seed).standard_normal(size)
    shift, scale = _dominant(product, start)
    if scale == 0:
        return Ends(np.zeros(2), np.zeros(2), True)

    def shifted(vector: Array) -> Array:
        flat = vector.ravel()
        return (product(flat) - shift * flat) / scale

    operator = LinearOperator((size, size), shifted, dtype=np.float64)
    values, vectors, converged = _both_ends(operator, start)
    misfit = [np.linalg.norm(shifted(v) - x * v) for x, v in zip(values, vectors.T, strict=True)]
    return Ends(values * scale + shift, np.array(misfit) * scale, converged)


def _both_ends(operator: LinearOperator, start: Array) -> tuple[Array, Array, bool]:
    converged = True
    try:
        values, vectors = _eigsh(operator, start, _TOLERANCE)
    except ArpackNoConvergence:
        # ARPACK keeps back what has not converged; with this tolerance its first basis is accepted
        converged, (values, vectors) = False, _eigsh(operator, start, 1e6)
    order = np.argsort(values)
    return values[order], vectors[:, order], converged


def _eigsh(operator: LinearOperator, start: Array, tolerance: float) -> tuple[Array, Array]:
    found: tuple[Array, Array] = eigsh(
        operator, k=2, which="BE", v0=start, ncv=_BASIS, tol=tolerance, maxiter=_RESTARTS
    )
    return found


def _dense(product: Product, size: int) -> Ends:
    matrix = np.stack([product(unit) for unit in np.eye(size)])
    matrix = (matrix + matrix.T) / 2
    values, vectors = np.linalg.eigh(matrix)
    misfit = np.linalg.norm(matrix @ vectors - vectors * values, axis=0)
    return Ends(values[[0, -1]], misfit[[0, -1]], True)


def _dominant(product: Product, vector: Array) -> tuple[float, float]:
    """Half the eigenvalue of largest magnitude and the magnitude, both roughly; zeros for a zero matrix."""
    quotient = length = 0.0
    for _ in range(_POWER_STEPS):
        vector = vector / np.linalg.norm(vector)
        image = product(vector)
        quotient, length = float(vector @ image), float(np.linalg.norm(image))
        if length == 0:
            break
        vector = image
    return quotient / 2, length
