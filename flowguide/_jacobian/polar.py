import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@jax.custom_jvp
def polar_factor(matrix: Float[Array, "n n"]) -> Float[Array, "n n"]:
    r"""The orthogonal matrix nearest to a regular one: $U$ of $A = U P$, $P$ positive definite.

    As `jax.scipy.linalg.polar`, whose own derivative does not exist (a loop) or is NaN where two
    singular values are equal, as all are of an identity.
    """
    u, _, vt = jnp.linalg.svd(matrix)
    return u @ vt


@polar_factor.defjvp
def _(primals, tangents):
    r"""$dU = U X$ with $P X + X P = U^\top dA - dA^\top U$, solved in the eigenvectors of $P$."""
    (matrix,), (tangent,) = primals, tangents
    u, values, vt = jnp.linalg.svd(matrix)
    factor = u @ vt
    skew = factor.T @ tangent
    skew = vt @ (skew - skew.T) @ vt.T
    solved = skew / (values[:, None] + values[None, :])
    return factor, factor @ (vt.T @ solved @ vt)
