"""The record of a search: an Optuna study in a journal file, from which a killed search goes on."""

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeseq_runtime.atomic import check_writable, write_bytes
from edgeseq_runtime.errors import DamagedFileError, FileError, MissingPackageError

from edgeseq.ranges import Choices, Range
from edgeseq.recipe import TuneTable
from edgeseq.training.batches import mix

try:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
    from optuna.study import StudyDirection
    from optuna.trial import TrialState
except ImportError as error:
    raise MissingPackageError(f"a search needs optuna: pip install 'edgeseq[tune]' ({error})") from error

Settings = dict[str, Any]

_SETTINGS, _REASON = "settings", "reason"

_STALE_SECONDS = 5
"""A lock of the journal that is older was left by a process that was killed: to write takes milliseconds."""


@dataclass(frozen=True)
class Trial:
    """One that ended: its settings, and its value, or the reason why it has none."""

    settings: Mapping[str, Any]
    value: float | None
    reason: str | None = None


class Record:
    """The trials of one search, oldest first.

    file: the journal; a study of another name in it is left alone. seed: of the sampler, with the number of trials
    that ended, so that it does not matter how often the search was interrupted.

    Raises:
        DamagedFileError: the journal cannot be read. FileError: it cannot be written.
    """

    def __init__(self, file: Path, name: str, table: TuneTable, seed: int) -> None:
        self._table, self._seed, self._file = table, seed, file
        path = check_writable(file)
        lock = JournalFileOpenLock(str(path), grace_period=_STALE_SECONDS)
        direction = StudyDirection.MAXIMIZE if table.more_is_better else StudyDirection.MINIMIZE
        with _naming(file):
            _drop_half_line(path)
            self._study = _opened(path, lock, name, direction)
            for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                self._study.tell(trial.number, state=TrialState.FAIL)  # it was under way when the search was killed

    @property
    def trials(self) -> list[Trial]:
        """Those that came to a value, or failed for a reason of their own."""
        ended = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.FAIL))
        return [
            Trial(t.user_attrs[_SETTINGS], t.value, t.user_attrs.get(_REASON))
            for t in ended
            if t.state == TrialState.COMPLETE or _REASON in t.user_attrs
        ]

    def ask(self, own: Mapping[str, Any]) -> tuple[optuna.Trial, Settings]:
        """A trial and the settings to try: the first are `own`, as far as the ranges hold them. Raises FileError."""
        with _naming(self._file):
            trial, drawn = self._asked(own)
        return trial, {key: value if value == own.get(key) else _short(value) for key, value in drawn.items()}

    def _asked(self, own: Mapping[str, Any]) -> tuple[optuna.Trial, Settings]:
        count = len(self.trials)
        self._study.sampler = optuna.samplers.TPESampler(seed=mix(self._seed, count) % 2**32, multivariate=True)
        if not count and not self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            ranges = self._table.ranges
            kept = {key: value for key, value in own.items() if ranges[key].holds(value)}
            self._study.enqueue_trial({key: _written(ranges[key], value) for key, value in kept.items()})
        trial = self._study.ask()
        return trial, {key: _draw(trial, key, one) for key, one in self._table.ranges.items()}

    def tell(self, trial: optuna.Trial, ended: Trial) -> None:
        """Put down what a trial came to. Raises FileError."""
        with _naming(self._file):
            trial.set_user_attr(_SETTINGS, dict(ended.settings))
            if ended.value is None:
                trial.set_user_attr(_REASON, ended.reason)
                self._study.tell(trial, state=TrialState.FAIL)
            else:
                self._study.tell(trial, ended.value)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna's log lines and warnings off the terminal."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="optuna")
            warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Make an error of the system a FileError that names the journal."""
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"the record of the search '{file}' cannot be read or written: {error}") from error


def _opened(path: Path, lock: JournalFileOpenLock, name: str, direction: StudyDirection) -> optuna.Study:
    """The study of that name. Raises DamagedFileError."""
    try:
        storage = JournalStorage(JournalFileBackend(str(path), lock))
        return optuna.create_study(storage=storage, study_name=name, direction=direction, load_if_exists=True)
    except (ValueError, KeyError, TypeError) as error:  # TypeError: a line of the journal is JSON, but no object
        raise DamagedFileError(
            f"'{path}' is no record of a search, or a damaged one; remove it to start anew"
        ) from error


def _draw(trial: optuna.Trial, key: str, wanted: Range | Choices) -> Any:
    if isinstance(wanted, Choices):
        return json.loads(trial.suggest_categorical(key, [_written(wanted, option) for option in wanted.options]))
    if wanted.whole:
        return trial.suggest_int(key, int(wanted.low), int(wanted.high), step=wanted.step, log=wanted.log)
    return trial.suggest_float(key, wanted.low, wanted.high, log=wanted.log)


def _written(wanted: Range | Choices, value: Any) -> Any:
    """A value as Optuna keeps it: choices as text, since they may be lists."""
    return json.dumps(value) if isinstance(wanted, Choices) else value


def _short(value: Any) -> Any:
    """What is drawn is used to five digits, so that a recipe can be read."""
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _drop_half_line(path: Path) -> None:
    """Take away what a killed process had begun to write."""
    if path.exists() and not (content := path.read_bytes()).endswith(b"\n") and content:
        write_bytes(path, content[: content.rfind(b"\n") + 1])
