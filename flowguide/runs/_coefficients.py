import math

COEFFICIENTS = {"edp": 100.0, "fql": 100.0, "fawac": 1.0, "dsrl": 1.0, "qam": 10.0}
"""What `coefficient` is by default, of the learners that have one."""

# Learners whose coefficient is an inverse temperature, at 0 the cloned policy; and those of which
# it is a weight of cloning, infinite for that alone.
TEMPERED, CLONING_AGAINST = ("fawac", "qam"), ("edp", "fql")


def check_coefficient(learner: str, coefficient: float) -> None:
    """Refuses a coefficient that a learner cannot have, with a `ValueError`."""
    has_limit, is_tempered = learner in CLONING_AGAINST, learner in TEMPERED
    is_above = coefficient >= 0 if is_tempered else coefficient > 0
    if not is_above or (math.isinf(coefficient) and not has_limit):
        raise ValueError(
            f"coefficient must be {'' if has_limit else 'finite and '}"
            f"{'at least' if is_tempered else 'above'} 0 for --learner {learner}, got "
            f"{coefficient}."
        )
