"""JapaneseVowels: nine male speakers saying two vowels, 12 LPC cepstrum coefficients a step, 7 to 29 steps.

The class is the speaker. 270 sequences to train on and 370 to test with, as the data's authors divided them.
The files are read out of the package aeon, which is not imported.
"""

from edgeseq.data.archive import VERSION, load_problem
from edgeseq.data.dataset import Loaded

_CITATION = (
    "M. Kudo, J. Toyama and M. Shimbo: Multidimensional Curve Classification Using Passing-Through Regions. "
    "Pattern Recognition Letters 20(11-13), 1999, pages 1103-1111. UCI Machine Learning Repository, "
    "https://doi.org/10.24432/C5NS47"
)
_LICENCE = f"CC BY 4.0 at the UCI Machine Learning Repository; read from the files packaged in aeon {VERSION}"


def load() -> Loaded:
    """The official training and test part. Raises MissingPackageError when aeon is not installed."""
    return load_problem("JapaneseVowels", "japanese-vowels", _CITATION, _LICENCE)
