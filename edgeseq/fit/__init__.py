"""Closed forms: what is solved for instead of being trained by gradient."""

from edgeseq.fit.ridge import Ridge, ridge
from edgeseq.fit.sharpness import sharpness

__all__ = ["Ridge", "ridge", "sharpness"]
