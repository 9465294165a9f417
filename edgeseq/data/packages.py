"""Data files inside installed Python packages, found without importing the package."""

from importlib import metadata
from pathlib import Path

from edgeseq_runtime.errors import MissingPackageError


def package_file(package: str, version: str, name: str) -> Path:
    """The path of a file of an installed package; `name`: its path's end.

    Raises:
        MissingPackageError: the package is not installed, or has no such file.
    """
    remedy = f"run `make data`, or pip install --no-deps {package}=={version}"
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError as error:
        raise MissingPackageError(
            f"the data lies in the package {package}, which is not installed; {remedy}"
        ) from error
    for file in files:
        path = Path(str(file.locate()))
        if file.as_posix().endswith(name) and path.is_file():
            return path
    raise MissingPackageError(f"the package {package} {metadata.version(package)} has no {name}; {remedy}")
