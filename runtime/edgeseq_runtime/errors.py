"""The errors edgeseq raises, on every floor. Each class carries the exit code the command line ends with.

EdgeseqError
├── CheckFailedError              exit 1   a check ran and did not pass
│   ├── ParityError                        an ONNX file is not equal to its reference
│   └── BudgetError                        a latency budget was exceeded
├── UsageError (ValueError)       exit 2   wrong usage or bad input
│   ├── InputError                         an array that does not fit the model
│   ├── StreamError                        a stream used in a way its model does not allow
│   ├── ContractError                      a contract that cannot be read
│   ├── ExportError                        a network that cannot be written as ONNX
│   └── FileError (OSError)                a file that cannot be read or written
│       ├── MissingFileError (FileNotFoundError)
│       ├── DamagedFileError               empty, truncated or changed since it was written
│       ├── UnsupportedFileError           it needs what this onnxruntime has not
│       └── UnsafeFileError                opening it would run code
└── MissingError (RuntimeError)   exit 3   something is not there on this machine
    ├── MissingPackageError (ImportError)
    └── ProviderError                      an execution provider that was asked for

GuessWarning (UserWarning)                 a state of a foreign file was paired by shape and order alone
LongInputWarning (UserWarning)             an input is longer than what the model was trained on
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeseq_runtime.compare import ParityReport


class EdgeseqError(Exception):
    """Base of every error edgeseq raises on purpose."""

    exit_code = 2


class CheckFailedError(EdgeseqError):
    """A check ran to its end and did not pass."""

    exit_code = 1


class ParityError(CheckFailedError):
    """An ONNX file does not equal what it is compared with; `report` says where."""

    def __init__(self, message: str, report: "ParityReport") -> None:
        super().__init__(message)
        self.report = report

    def __reduce__(self) -> tuple[type["ParityError"], tuple[str, "ParityReport"]]:
        return ParityError, (str(self), self.report)


class BudgetError(CheckFailedError):
    """A measured figure is over the budget that was given."""


class UsageError(EdgeseqError, ValueError):
    """The call, the flags or the data are wrong."""


class InputError(UsageError):
    """An array does not fit the model's signature."""


class StreamError(UsageError):
    """A stream was asked for something its model cannot do."""


class ContractError(UsageError):
    """A contract is malformed or of a newer version."""


class ExportError(UsageError):
    """A network cannot be written as ONNX."""


class FileError(UsageError, OSError):
    """A file cannot be read or written."""


class MissingFileError(FileError, FileNotFoundError):
    """A file does not exist."""


class DamagedFileError(FileError):
    """A file is empty, truncated, or not what was written."""


class UnsupportedFileError(FileError):
    """A file needs an operator, an opset or a version of the format that is not known here."""


class UnsafeFileError(FileError):
    """A file would run code when opened."""


class MissingError(EdgeseqError, RuntimeError):
    """Something is not installed or not present on this machine."""

    exit_code = 3


class MissingPackageError(MissingError, ImportError):
    """A Python package is not installed."""


class ProviderError(MissingError):
    """The execution provider that was asked for is not available."""


class GuessWarning(UserWarning):
    """A stream carries a state that was paired by its shape and order alone; told for each stream."""


class LongInputWarning(UserWarning):
    """An input is longer than any the model was trained on; told once for each model and axis."""
