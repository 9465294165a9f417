"""Problems of the time series archives, read out of the files packaged in aeon, which is not imported."""

from hashlib import sha256

from edgeseq.data import ts
from edgeseq.data.dataset import About, Loaded
from edgeseq.data.packages import package_file

VERSION = "1.6.0"


def load_problem(problem: str, name: str, citation: str, licence: str) -> Loaded:
    """A problem's official training and test part. name: what the source is called here.

    Raises:
        MissingPackageError: aeon is not installed.
    """
    names = [f"{problem}_{part}.ts" for part in ("TRAIN", "TEST")]
    contents = [package_file("aeon", VERSION, f"aeon/datasets/data/{problem}/{n}").read_bytes() for n in names]
    train, test = (ts.parse(content.decode(), n) for content, n in zip(contents, names, strict=True))
    return Loaded(train, About(name, sha256(b"".join(contents)).hexdigest(), citation, licence), test)
