"""Parity in a test suite: `assert_parity("m.onnx", module)`. pytest loads this in every run, so it imports little.

>>> from edgeseq_export.pytest_plugin import assert_parity      # or the fixture of that name
>>> def test_the_file_is_the_network():
...     assert_parity("m.onnx", Net())
"""

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from edgeseq_runtime.compare import Comparison, ParityReport
    from torch import nn

    from edgeseq_export.grid import Grid
    from edgeseq_export.source import Source

File = str | os.PathLike[str]

MARKER = "edgeseq_grid"
SHOWN = 10
"""So many comparisons of a failed proof are printed, the worst first."""

_running: ContextVar[pytest.Item | None] = ContextVar("_running", default=None)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say where worst cases go."""
    parser.getgroup("edgeseq").addoption(
        "--edgeseq-worst",
        metavar="DIR",
        default=None,
        help="where assert_parity saves the worst case of a failed proof (by default in pytest's cache)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(batches, times, chunks): the sizes that assert_parity runs at, such as "
        f"{MARKER}(batches=(1, 3), times=(1, 7, 50), chunks=(1, 7))",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Let assert_parity know the test that calls it: its marker, and its name for a saved case."""
    token = _running.set(item)
    try:
        return (yield)
    finally:
        _running.reset(token)


@pytest.fixture(name="assert_parity", scope="session")
def _assert_parity() -> Callable[..., "ParityReport"]:
    """The function `assert_parity`."""
    return assert_parity


@pytest.fixture(scope="session")
def edgeseq_export_cache(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`edgeseq_export_cache(module, inputs=…, states=…, **options)`: the path of its ONNX file, written once a session.

    A network is known by its classes, their plain attributes, and its weights. options: as of `edgeseq_export.export`;
    the proof is left to assert_parity unless `verify=True`. With pytest-xdist each worker has its own files.
    """
    folder = tmp_path_factory.mktemp("edgeseq")
    paths: dict[str, Path] = {}

    def exported(
        module: "nn.Module | Source",
        *,
        inputs: Sequence[str] = (),
        states: Mapping[str, str] | None = None,
        verify: bool = False,
        **options: Any,
    ) -> Path:
        from edgeseq_export.pipeline import export

        key = _key(module, (tuple(inputs), sorted((states or {}).items()), verify, sorted(options.items())))
        if key not in paths:
            source = _as_source(module, inputs, states)
            path = folder / f"{_file_name(source.name)}-{len(paths)}.onnx"
            export(source, path, verify=verify, **options)
            paths[key] = path
        return paths[key]

    return exported


@pytest.fixture(scope="session")
def exported(edgeseq_export_cache: Callable[..., Path]) -> Callable[..., Path]:
    """The same as `edgeseq_export_cache`, by a short name."""
    return edgeseq_export_cache


def assert_parity(
    file: File,
    reference: "nn.Module | Source | File",
    *,
    inputs: Sequence[str] = (),
    states: Mapping[str, str] | None = None,
    providers: Sequence[str] | None = None,
    tolerance: float | None = None,
    plan: "Grid | None" = None,
    worst: File | None = None,
) -> "ParityReport":
    """Fail unless an ONNX file equals its network, or another ONNX file, at every size of the grid.

    Args:
        file: the ONNX file.
        reference: the network, a Source, or the path of another ONNX file.
        inputs, states: of a network, as `from_module` takes them; by default as the file's contract says.
        providers, tolerance: as of `edgeseq_export.verify`.
        plan: the sizes to run at; by default those of the test's marker `edgeseq_grid`, else the whole grid.
        worst: where the worst case is saved if it fails; by default in `--edgeseq-worst`, else in pytest's cache.

    Returns: the report, of a proof that passed.

    Raises:
        AssertionError: they differ. It shows the worst comparisons, and the file that holds the worst case.
    """
    __tracebackhide__ = True
    from edgeseq_export.grid import DEFAULT
    from edgeseq_export.proof import verify
    from edgeseq_export.worst_case import Keeper, save

    judge = reference if isinstance(reference, str | os.PathLike) else _judge(file, reference, inputs, states)
    keep = Keeper()
    chosen = plan or _marked() or DEFAULT
    report = verify(file, judge, providers=providers, tolerance=tolerance, plan=chosen, keep=keep)
    if report.passed:
        return report
    lines = [summary(report)]
    if keep.worst is not None:
        path = Path(worst) if worst is not None else _worst_path(Path(file))
        save(path, keep.worst)
        lines.append(
            f"the worst case is in {path}; to run it again:\n  edgeseq verify {os.fspath(file)} --replay {path}"
        )
    raise AssertionError("\n\n".join(lines))


def summary(report: "ParityReport") -> str:
    """A failed report as plain text: the verdict, and the worst comparisons as a table."""
    failures = report.failures
    verdict = f"{len(failures)} of {len(report.comparisons)} comparisons failed"
    if not failures:
        verdict = "; ".join(report.problems) or "too many excused decisions"
    if not report.comparisons:
        verdict = "nothing was run"
    shown = failures[:SHOWN] or sorted(report.comparisons, key=lambda c: c.badness, reverse=True)[:3]
    more = [f"and {len(failures) - SHOWN} more"] if len(failures) > SHOWN else []
    reasons = [f"no answer: {error}" for error in dict.fromkeys(c.error for c in shown if c.error)]
    head = f"{report.subject} does not equal {report.reference}: {verdict}"
    return "\n".join([head, "", *_table(shown), *more, *reasons, *report.notes])


def _table(comparisons: Sequence["Comparison"]) -> list[str]:
    rows = [("case", "output", "provider", "max abs", "allowed", "max rel", "RMS ratio", "SNR dB", "equal classes")]
    for c in comparisons:
        figures = (f"{c.max_abs:.2e}", f"{c.bound:.2e}", _short(c.max_rel, ".2e"), _short(c.rms_ratio, ".2e"))
        rows.append((c.case, c.output, c.provider, *figures, _short(c.snr_db, ".0f"), _short(c.equal_share, ".2%")))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _short(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _judge(
    file: File, reference: "nn.Module | Source", inputs: Sequence[str], states: Mapping[str, str] | None
) -> "Source":
    """The network, with the inputs and states that the file's contract says where nobody does."""
    from edgeseq_runtime import load

    contract = load(file, provider="cpu").contract
    said = contract.provenance.get("source", {}) if contract is not None else {}
    return _as_source(reference, inputs or said.get("inputs", ()), states or said.get("states"))


def _as_source(module: "nn.Module | Source", inputs: Sequence[str], states: Mapping[str, str] | None) -> "Source":
    from edgeseq_runtime.errors import UsageError
    from torch import nn

    from edgeseq_export.source import Source
    from edgeseq_export.sources.module import from_module

    if isinstance(module, Source):
        return module
    if not isinstance(module, nn.Module):
        raise UsageError(f"{module!r} was given, but an nn.Module, a Source or the path of an ONNX file is expected")
    return from_module(module, inputs=inputs, states=states)


def _marked() -> "Grid | None":
    """The grid that the running test's marker says."""
    from edgeseq_runtime.errors import UsageError

    from edgeseq_export.grid import Grid

    item = _running.get()
    marker = item.get_closest_marker(MARKER) if item is not None else None
    if marker is None:
        return None
    try:
        return Grid(**{name: tuple(sizes) for name, sizes in marker.kwargs.items()})
    except TypeError as error:
        raise UsageError(f"the marker {MARKER} takes batches, times and chunks, each a tuple: {error}") from error


def _worst_path(file: Path) -> Path:
    """Where the running test's worst case goes."""
    item = _running.get()
    if item is None:
        return Path(tempfile.mkdtemp(prefix="edgeseq-")) / f"{file.stem}.npz"
    name = f"{_file_name(item.nodeid)}-{file.stem}.npz"
    chosen = item.config.getoption("--edgeseq-worst")
    if chosen is not None:
        return Path(chosen) / name
    cache = getattr(item.config, "cache", None)
    return Path(cache.mkdir("edgeseq") if cache is not None else tempfile.mkdtemp(prefix="edgeseq-")) / name


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text).strip("-")[-100:]


def _key(network: "nn.Module | Source", options: object) -> str:
    """What a network is known by: all parts' classes with their plain attributes, the weights, and the options."""
    from hashlib import sha256

    import torch

    module = network if isinstance(network, torch.nn.Module) else network.module
    said = None if module is network else replace(network, module=None)  # type: ignore[type-var]
    digest = sha256(repr((said, options)).encode())
    plain = (bool, int, float, str, tuple, type(None))
    for name, part in module.named_modules():
        settings = {key: value for key, value in vars(part).items() if isinstance(value, plain)}
        digest.update(repr((name, type(part).__module__, type(part).__qualname__, settings)).encode())
        digest.update(str(getattr(part, "code", "")).encode())  # of a scripted one, which has one class for all
    for name, value in module.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().flatten().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
