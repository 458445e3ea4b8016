"""`jaxtyping.PyTree`, which type checkers take for anything.

Of jaxtyping's own they know nothing, and in strict mode say so wherever a function has one.
"""

from typing import Any, TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    PyTree: TypeAlias = Any
else:
    from jaxtyping import PyTree as PyTree
