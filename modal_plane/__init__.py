"""Modal's control plane on loopback, for tests and for trying things without an account; see README.md."""

from .billing import BillingItem
from .catalogue import CATALOGUE
from .faults import Fault, HttpFault
from .interpreter import bare_python
from .plane import Plane
from .settings import Settings

__all__ = ["CATALOGUE", "BillingItem", "Fault", "HttpFault", "Plane", "Settings", "bare_python"]
