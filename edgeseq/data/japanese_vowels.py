"""JapaneseVowels: nine male speakers saying two vowels, 12 LPC cepstrum coefficients a step, 7 to 29 steps.

The class is the speaker. 270 sequences to train on and 370 to test with, as the data's authors divided them.
The files are read out of the package aeon, which is not imported.
"""

from hashlib import sha256

from edgeseq.data import ts
from edgeseq.data.dataset import About, Loaded
from edgeseq.data.packages import package_file

_FOLDER = "aeon/datasets/data/JapaneseVowels/"
_VERSION = "1.6.0"
_CITATION = (
    "M. Kudo, J. Toyama and M. Shimbo: Multidimensional Curve Classification Using Passing-Through Regions. "
    "Pattern Recognition Letters 20(11-13), 1999, pages 1103-1111. UCI Machine Learning Repository, "
    "https://doi.org/10.24432/C5NS47"
)
_LICENCE = f"CC BY 4.0 at the UCI Machine Learning Repository; read from the files packaged in aeon {_VERSION}"


def load() -> Loaded:
    """The official training and test part. Raises MissingPackageError when aeon is not installed."""
    names = [f"JapaneseVowels_{part}.ts" for part in ("TRAIN", "TEST")]
    contents = [package_file("aeon", _VERSION, _FOLDER + name).read_bytes() for name in names]
    train, test = (ts.parse(content.decode(), name) for content, name in zip(contents, names, strict=True))
    about = About("japanese-vowels", sha256(b"".join(contents)).hexdigest(), _CITATION, _LICENCE)
    return Loaded(train, about, test)
