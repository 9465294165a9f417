"""PickupGestureWiimoteZ: who lifted the controller? The vertical acceleration of ten people's gesture, 29 to 361 steps.

The class is the person. 50 sequences to train on and 50 to test with, five of each person, as the archive divided
them. The files are read out of the package aeon, which is not imported.
"""

from hashlib import sha256

from edgeseq.data import ts
from edgeseq.data.dataset import About, Loaded
from edgeseq.data.packages import package_file

_FOLDER = "aeon/datasets/data/PickupGestureWiimoteZ/"
_VERSION = "1.6.0"
_CITATION = (
    "J. Guna, I. Humar and M. Pogačnik: Intuitive Gesture Based User Identification System. Telecommunications and "
    "Signal Processing (TSP), 2012; edited by H. A. Dau for the UCR archive, arXiv 1810.07758"
)
_LICENCE = f"none stated; the UCR archive asks to be cited; read from the files packaged in aeon {_VERSION}"


def load() -> Loaded:
    """The official training and test part. Raises MissingPackageError when aeon is not installed."""
    names = [f"PickupGestureWiimoteZ_{part}.ts" for part in ("TRAIN", "TEST")]
    contents = [package_file("aeon", _VERSION, _FOLDER + name).read_bytes() for name in names]
    train, test = (ts.parse(content.decode(), name) for content, name in zip(contents, names, strict=True))
    about = About("pickup-gesture", sha256(b"".join(contents)).hexdigest(), _CITATION, _LICENCE)
    return Loaded(train, about, test)
