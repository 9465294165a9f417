"""Pictures of what networks do, as the bytes of a PNG file: arrays in, no torch.

matplotlib is imported when something is drawn, not before. The same arrays give the same bytes.
"""

from edgeseq.pictures.codes import plane
from edgeseq.pictures.mosaic import check_grid, grid, pairs
from edgeseq.pictures.series import alarms, curves

__all__ = ["alarms", "check_grid", "curves", "grid", "pairs", "plane"]
