# jaxtyping looks it up as an attribute: see addopts in pyproject.toml.
from . import typechecker as typechecker
