from .base import AbstractJacobian as AbstractJacobian
from .dropped import DroppedJacobian as DroppedJacobian
from .exact import ExactJacobian as ExactJacobian
from .orthogonal import OrthogonalJacobian as OrthogonalJacobian
from .regularised import RegularisedJacobian as RegularisedJacobian
