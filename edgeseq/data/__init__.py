"""Sources of data, and how a recipe's `data` table becomes a train, validation and test part."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from edgeseq_runtime.errors import FileError, MissingFileError, UsageError

from edgeseq.data import (
    blood_pressure,
    cmudict,
    csv_table,
    digit_lines,
    electricity_faults,
    electricity_load,
    japanese_vowels,
    listops,
    lorenz,
    mackey_glass,
    mnist_digits,
    npz,
    pickup_gesture,
    python_docs,
    spoken_digits,
    tagged,
    text,
    ts,
    turkish_tags,
)
from edgeseq.data.dataset import About, Dataset, Loaded, Parts
from edgeseq.data.split import split
from edgeseq.recipe import DataTable

__all__ = ["SOURCES", "About", "Dataset", "Loaded", "Parts", "open_data", "read_file"]

SOURCES: dict[str, Callable[[], Loaded]] = {
    "japanese-vowels": japanese_vowels.load,
    "mnist-digits": mnist_digits.load,
    "digit-lines": digit_lines.load,
    "electricity-load": electricity_load.load,
    "electricity-load-week": electricity_load.load_weeks,
    "electricity-load-faults": electricity_faults.load,
    "blood-pressure": blood_pressure.load,
    "pickup-gesture": pickup_gesture.load,
    "spoken-digits": spoken_digits.load,
    "python-docs": python_docs.load,
    "listops": listops.load,
    "listops-strings": listops.load_strings,
    "turkish-tags": turkish_tags.load,
    "cmudict": cmudict.load,
    "mackey-glass": mackey_glass.load,
    "mackey-glass-10": mackey_glass.load_ten_ahead,
    "lorenz": lorenz.load,
}

_FORMATS: dict[str, Callable[[bytes, str], Dataset | text.Divided]] = {
    ".npz": npz.parse,
    ".csv": lambda content, name: csv_table.parse(_text(content, name), name),
    ".ts": lambda content, name: ts.parse(_text(content, name), name),
    ".txt": lambda content, name: text.parse(_text(content, name), name),
    ".conllu": lambda content, name: tagged.parse(_text(content, name), name),
    ".dict": lambda content, name: cmudict.parse(_text(content, name), name),
}


def open_data(table: DataTable, folder: Path) -> Parts:
    """Load what a recipe names and divide it. folder: where a relative path starts.

    Raises:
        UsageError: an unknown source, a file that cannot be understood, too few sequences.
        MissingFileError, FileError: the file cannot be read. MissingPackageError: a package with data is
        missing.
    """
    if table.path is not None:
        loaded = read_file(folder / table.path)
    elif table.source in SOURCES:
        loaded = SOURCES[table.source]()
    else:
        raise UsageError(f"the data source '{table.source}' is not known; known are {', '.join(SOURCES)}")
    return split(loaded, table.test, table.validation, table.seed)


def read_file(path: Path) -> Loaded:
    """The user's own sequences from a .npz, .csv or .ts file, or what comes divided: .txt, .conllu, .dict."""
    if path.suffix not in _FORMATS:
        raise UsageError(f"'{path}' ends with '{path.suffix}', but data is read from {', '.join(_FORMATS)}")
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise MissingFileError(f"there is no data file '{path}'") from error
    except OSError as error:
        raise FileError(f"the data file '{path}' cannot be read: {error.strerror or error}") from error
    found, about = _FORMATS[path.suffix](content, path.name), About(path.name, sha256(content).hexdigest())
    if isinstance(found, Dataset):
        return Loaded(found, about)
    train, validation, test = found
    return Loaded(train, about, test, validation)


def _text(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is not text in UTF-8: {error}") from error
