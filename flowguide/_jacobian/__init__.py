from .base import AbstractJacobian as AbstractJacobian
from .dropped import DroppedJacobian as DroppedJacobian
from .exact import ExactJacobian as ExactJacobian
