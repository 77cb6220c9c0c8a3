"""Small quadratic programs over a Gram matrix, solved exactly by non-negative least squares."""

import numpy as np

from tailgrad.interference.gram import Array


def factor(gram: Array) -> Array:
    """A matrix A [m, m] with ``A' A = gram``, for any positive semidefinite Gram.

    Example:
        >>> a = factor(np.array([[4.0, 2.0], [2.0, 1.0]]))
        >>> np.allclose(a.T @ a, [[4, 2], [2, 1]])
        True
    """
    values, vectors = np.linalg.eigh(gram)
    result: Array = np.sqrt(np.clip(values, 0, None))[:, None] * vectors.T
    return result


def min_norm(gram: Array) -> Array:
    """``argmin w' G w`` over the simplex: the weights of the shortest vector in the rows' convex hull.

    The simplex constraint becomes one more equation, ``sum w = 1``, of a non-negative least-squares
    problem: scaling any simplex point p to its best length leaves ``|A p|^2 / (1 + |A p|^2)``, which rises
    with ``|A p|``, so the solution divided by its sum is the point wanted.

    Args:
        gram: positive semidefinite [m, m], not all zero.

    Example:
        >>> min_norm(np.diag([1.0, 3.0]))
        array([0.75, 0.25])
    """
    scaled = gram / np.trace(gram)
    system = np.vstack([factor(scaled), np.ones(len(gram))])
    solution = _solve(system, np.append(np.zeros(len(gram)), 1.0))
    result: Array = solution / solution.sum()
    return result


def dual_cone(gram: Array, start: Array) -> Array:
    """``argmin v' G v`` over ``v >= start``: projects ``sum_k start_k g_k`` on {d: <d, g_j> >= 0 for all j}.

    Args:
        gram: positive definite [m, m].
        start: weights [m] of the vector to project.

    Example:
        >>> dual_cone(np.array([[1.0, -1.0], [-1.0, 2.0]]), np.array([1.0, 0.0]))
        array([1. , 0.5])
    """
    root = factor(gram)
    return start + _solve(root, -root @ start)


def _solve(matrix: Array, wanted: Array) -> Array:
    from scipy.optimize import nnls

    result: Array = nnls(matrix, wanted, maxiter=100 * matrix.shape[1])[0]
    return result
