"""PickupGestureWiimoteZ: who lifted the controller? The vertical acceleration of ten people's gesture, 29 to 361 steps.

The class is the person. 50 sequences to train on and 50 to test with, five of each person, as the archive divided
them. The files are read out of the package aeon, which is not imported.
"""

from edgeseq.data.archive import VERSION, load_problem
from edgeseq.data.dataset import Loaded

_CITATION = (
    "J. Guna, I. Humar and M. Pogačnik: Intuitive Gesture Based User Identification System. Telecommunications and "
    "Signal Processing (TSP), 2012; edited by H. A. Dau for the UCR archive, arXiv 1810.07758"
)
_LICENCE = f"none stated; the UCR archive asks to be cited; read from the files packaged in aeon {VERSION}"


def load() -> Loaded:
    """The official training and test part. Raises MissingPackageError when aeon is not installed."""
    return load_problem("PickupGestureWiimoteZ", "pickup-gesture", _CITATION, _LICENCE)
