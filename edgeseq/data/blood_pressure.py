"""Blood pressure: series 135 of the UCR anomaly archive (InternalBleeding16), 7,501 points with one labelled anomaly.

A beat lasts about 183 points (180 to 188), and the values run from 56 to 104. The anomaly is short: 12 points of noise,
4,187 to 4,198 of the series counted from 0, in the fall of one beat; no value of it is outside the range of the others.

The archive keeps the series in one piece, of which the first 1,200 points are normal and for training. The package's
test file is that whole piece, and its training file the same 1,200 points once more. So the test part here begins
behind them: of its 6,301 points those from 2,987 to 2,998 are anomalous. The first 900 points are to learn from, the
next 300 to decide on. The files are read out of the package aeon, which is not imported.
"""

from hashlib import sha256

import numpy as np
from edgeseq_runtime.errors import DamagedFileError

from edgeseq.data.archive import VERSION
from edgeseq.data.dataset import About, Array, Dataset, Loaded
from edgeseq.data.packages import package_file

LABELS = ("normal", "anomaly")
FEATURES = ("value",)

TRAIN = 900
"""Of the clean points so many are to learn from, the later ones to decide on."""

_NAMES = tuple(f"135_UCR_Anomaly_InternalBleeding16_{part}.csv" for part in ("TRAIN", "TEST"))
_COLUMNS = "timestamp,value,is_anomaly"
_CITATION = (
    "E. Keogh, T. Dutta Roy, U. Naik and A. Agrawal: Multi-dataset Time-Series Anomaly Detection Competition. "
    "SIGKDD 2021, https://compete.hexagon-ml.com/practice/competition/39/"
)
_LICENCE = f"not stated; read from the files packaged in aeon {VERSION}, which is under the BSD 3-Clause licence"


def load() -> Loaded:
    """One sequence a part, x: float32 (1, points, 1), y: int64 (1, points).

    Raises:
        MissingPackageError: aeon is not installed.
        DamagedFileError: its files do not hold the series.
    """
    contents = [package_file("aeon", VERSION, f"aeon/datasets/data/KDD-TSAD_135/{n}").read_bytes() for n in _NAMES]
    (clean, _), (values, anomalous) = (parse(content, name) for content, name in zip(contents, _NAMES, strict=True))
    if not np.array_equal(values[: len(clean)], clean) or anomalous[: len(clean)].any():
        raise DamagedFileError(f"{_NAMES[1]} of aeon does not begin with the {len(clean)} clean points of {_NAMES[0]}")
    train, validation, test = (
        Dataset(values[None, p, None], anomalous[None, p], np.array([p.stop - p.start]), LABELS, features=FEATURES)
        for p in (slice(0, TRAIN), slice(TRAIN, len(clean)), slice(len(clean), len(values)))
    )
    about = About("blood-pressure", sha256(b"".join(contents)).hexdigest(), _CITATION, _LICENCE)
    return Loaded(train, about, test, validation)


def parse(content: bytes, name: str) -> tuple[Array, Array]:
    """The values, float32 (points,), and whether each is anomalous, int64 (points,). Raises DamagedFileError."""
    header, *lines = content.decode(errors="replace").splitlines() or [""]
    if header != _COLUMNS:
        raise DamagedFileError(f"{name} of aeon has the columns '{header[:80]}', but {_COLUMNS} are expected")
    try:
        _, values, anomalous = np.array([line.split(",") for line in lines], np.float64).T
    except ValueError as error:
        raise DamagedFileError(f"{name} of aeon does not hold three numbers a line: {error}") from error
    if len(values) <= TRAIN or not np.isfinite(values).all() or not np.isin(anomalous, (0, 1)).all():
        raise DamagedFileError(f"{name} of aeon does not hold more than {TRAIN} values, each marked with 0 or 1")
    return values.astype(np.float32), anomalous.astype(np.int64)
