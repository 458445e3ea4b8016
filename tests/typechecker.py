"""What jaxtyping checks annotations with in the tests: an int is a float, as PEP 484 has it."""

from beartype import beartype, BeartypeConf

typecheck = beartype(conf=BeartypeConf(is_pep484_tower=True))
