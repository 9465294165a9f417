"""Pictures of what networks do, as the bytes of a PNG file: arrays in, no torch.

matplotlib is imported when something is drawn, not before. The same arrays give the same bytes.
"""

from edgeseq.pictures.codes import plane
from edgeseq.pictures.mosaic import grid, pairs
from edgeseq.pictures.series import alarms, curves

__all__ = ["alarms", "curves", "grid", "pairs", "plane"]
