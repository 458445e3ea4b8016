from .base import (
    AbstractWeight as AbstractWeight,
    as_number as as_number,
    as_weight as as_weight,
    bind_weight as bind_weight,
    is_active as is_active,
    prepare_weight as prepare_weight,
    resume_weight as resume_weight,
    times_weight as times_weight,
    weight_at as weight_at,
    weight_cost as weight_cost,
    weight_of as weight_of,
    WeightLike as WeightLike,
    WeightPoint as WeightPoint,
)
from .kappa import DEFAULT_KAPPA as DEFAULT_KAPPA, Kappa as Kappa
from .relative import Normalised as Normalised, Relative as Relative
from .schedule import (
    RealTimeWeight as RealTimeWeight,
    ScoreWeight as ScoreWeight,
    WeightInterval as WeightInterval,
)
from .unit import weight_unit as weight_unit
