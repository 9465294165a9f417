"""What a step of an echo state network costs: edgeseq's files beside reservoirpy and PyTorch eager, all in one run.

One thread, one sequence; microseconds a step, medians of calls in interleaved turns. edgeseq's columns contain the
input product and a readout of every state; reservoirpy and PyTorch compute the states alone.

    python benchmarks/reservoirs.py                 # the whole table: about 5 minutes
    python benchmarks/reservoirs.py --units 1024 --block-size 64

Exit status 1: at 1,024 units a ratio is above its aim.
"""

import argparse
import os
import platform
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import onnxruntime as ort
import torch
from edgeseq_export import Source, export
from edgeseq_runtime import Model, load
from edgeseq_runtime.measure import measure
from numpy.typing import NDArray

from edgeseq.nn import build
from edgeseq.nn.esn import Esn

Array = NDArray[Any]
Call = Callable[[], object]

FEATURES, LEAK_RATE, DENSITY = 3, 0.7, 0.1
TOPOLOGIES = ("random", "block", "cycle")
FORMS = ("loop", "unroll", "step", "single")
PEERS = ("reservoirpy", "PyTorch dense", "PyTorch CSR")

PEER_UNITS = {1024: 1000}
"""The peers' reservoir is this large in place of edgeseq's: a round number, so that the ratio flatters nobody here."""

RATIOS = (
    ("block, loop / reservoirpy, run", ("block", "loop"), ("reservoirpy", "loop"), 0.3),
    ("block, loop / random, loop", ("block", "loop"), ("random", "loop"), 0.3),
    ("block, Stream.step / reservoirpy, step", ("block", "step"), ("reservoirpy", "step"), 0.5),
)
"""What is compared, and what it may be at most at 1,024 units."""

Cells = Mapping[tuple[str, str], float]
"""Microseconds a step by (topology or peer, column)."""


@dataclass(frozen=True)
class Timed:
    """A call, and how many steps it takes."""

    call: Call
    steps: int


def main() -> int:
    """Print the table and the ratios; 1 where one is missed at 1,024 units."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", nargs="+", type=int, default=[128, 512, 1024, 2048])
    parser.add_argument("--block-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=200, help="of a sequence, and copies in the unrolled file")
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each call")
    arguments = parser.parse_args()
    if odd := [units for units in arguments.units if units % arguments.block_size]:
        parser.error(f"--units {odd[0]} is not a multiple of the block size, {arguments.block_size}")
    torch.set_num_threads(1)
    reservoir = _reservoirpy()
    print(
        f"{platform.machine()}, Python {platform.python_version()}, onnxruntime {ort.__version__}, torch "
        f"{torch.__version__}, one thread; µs a step, medians of calls in interleaved turns"
    )
    print(f"density {DENSITY}, leak rate {LEAK_RATE}, blocks of {arguments.block_size}, {arguments.steps} steps a run")
    print("step: one step of the loop file's stream, or of the peer; N = 1: that of a file unrolled to one step\n")
    print(f"{'':14}{'units':>6}{'run, loop':>11}{'unroll':>9}{'step':>9}{'N = 1':>9}")
    missed = False
    for units in arguments.units:
        cells = _cells(units, arguments, reservoir)
        for line in _lines(units, cells):
            print(line, flush=True)
        for told, above in _ratios(units, cells):
            print(told, flush=True)
            missed = missed or above
        print()
    return int(missed)


def make_network(topology: str, units: int, block_size: int) -> Esn:
    """A fresh network that forecasts every next step, its readout as random as its reservoir."""
    settings = {"topology": topology, "units": units, "block_size": block_size, "density": DENSITY, "bias": 0.1}
    sizes = {"input_size": FEATURES, "output_size": FEATURES, "task": "forecast", "stepwise": True}
    torch.manual_seed(0)
    network = build("esn", {**sizes, **settings, "leak_rate": LEAK_RATE, "standardise": False})
    assert isinstance(network, Esn)
    network.initialise()
    return network.eval()


def _cells(units: int, arguments: argparse.Namespace, reservoir: Any) -> Cells:
    """All columns of one number of units, timed in interleaved turns."""
    x = np.random.default_rng(0).standard_normal((1, arguments.steps, FEATURES)).astype(np.float32)
    timed: dict[tuple[str, str], Timed] = {}
    for topology in TOPOLOGIES:
        network = make_network(topology, units, arguments.block_size)
        timed |= {(topology, form): call for form, call in _ours(network, x).items()}
    timed |= _peers(make_network("random", PEER_UNITS.get(units, units), arguments.block_size), x, reservoir)
    names = {" ".join(key): key for key in timed}
    latencies = measure({name: timed[key].call for name, key in names.items()}, arguments.seconds)
    return {key: latencies[name].p50_us / timed[key].steps for name, key in names.items()}


def _ours(network: Esn, x: Array) -> dict[str, Timed]:
    """A network's four columns, after a look that all of them compute the network."""
    steps, frame = x.shape[1], np.ascontiguousarray(x[:, 0])
    loop, unrolled, single = (
        _exported(network, form, n) for form, n in (("loop", None), ("unroll", steps), ("unroll", 1))
    )
    expected = network(torch.from_numpy(x))["values"].numpy()
    for name, values in {
        "loop": loop.run(x)["values"],
        "unroll": unrolled.run(x)["values"],
        "step": _stepped(loop, x),
        "single": _stepped(single, x),
    }.items():
        np.testing.assert_allclose(values, expected, atol=2e-5, err_msg=f"{network.config.topology} {name}")
    streamed, alone = loop.stream(), single.stream()
    return {
        "loop": Timed(lambda: loop.run(x), steps),
        "unroll": Timed(lambda: unrolled.run(x), steps),
        "step": Timed(lambda: streamed.step(frame), 1),
        "single": Timed(lambda: alone.step(frame), 1),
    }


def _exported(network: Esn, form: str, steps: int | None) -> Model:
    source = Source(network, network.signature(), "esn", network.task, "esn")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "esn.onnx")
        export(source, path, form=form, steps=steps, verify=False)
        return load(path)


def _stepped(model: Model, x: Array) -> Array:
    """The values of all steps of a stream, (1, time, features)."""
    stream = model.stream()
    return np.stack([stream.step(np.ascontiguousarray(x[:, t]))["values"] for t in range(x.shape[1])], 1)


def _peers(network: Esn, x: Array, reservoir: Any) -> dict[tuple[str, str], Timed]:
    """A random reservoir in PyTorch, and reservoirpy's own where there is one; all that is timed is compared first."""
    w_in, weights, bias, _ = network.layers[0].direction_weights(0)  # type: ignore[operator]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch calls its sparse tensors a beta
        dense, sparse = (_eager(w, w_in, bias, x[0]) for w in (weights, weights.to_sparse_csr()))
    states = dense()
    np.testing.assert_allclose(sparse().numpy(), states.numpy(), atol=1e-4, err_msg="PyTorch CSR")
    values = network(torch.from_numpy(x))["values"][0].numpy()
    np.testing.assert_allclose(network.readout(states).numpy(), values, atol=1e-4, err_msg="PyTorch dense")
    steps = x.shape[1]
    timed = {("PyTorch dense", "loop"): Timed(dense, steps), ("PyTorch CSR", "loop"): Timed(sparse, steps)}
    if reservoir is not None:
        run, step = _reservoirpy_calls(reservoir, network.config.units, x[0])
        timed |= {("reservoirpy", "loop"): Timed(run, steps), ("reservoirpy", "step"): Timed(step, 1)}
    return timed


def _eager(weights: torch.Tensor, w_in: torch.Tensor, bias: torch.Tensor, x: Array) -> Callable[[], torch.Tensor]:
    """The reservoir as one would write it by hand, the input product outside the loop."""
    inputs = torch.from_numpy(x)

    def call() -> torch.Tensor:
        with torch.inference_mode():
            driven = inputs @ w_in.T + bias
            h = torch.zeros(len(bias))
            states = []
            for u in driven:
                h = (1 - LEAK_RATE) * h + LEAK_RATE * torch.tanh(u + weights @ h)
                states.append(h)
            return torch.stack(states)

    return call


def _reservoirpy() -> Any:
    """The node Reservoir; None, with a word, where reservoirpy is not installed."""
    try:
        from reservoirpy import __version__ as version  # type: ignore[import-untyped]
        from reservoirpy.nodes import Reservoir  # type: ignore[import-untyped]
    except ImportError:
        print("reservoirpy is not installed, its figures are left out: pip install reservoirpy==0.4.2", file=sys.stderr)
        return None
    print(f"reservoirpy {version}")
    return Reservoir


def _reservoirpy_calls(reservoir: Any, units: int, x: Array) -> tuple[Callable[[], Array], Callable[[], Array]]:
    """A run from rest and a single step of its node as it is by default: float64, CSR weights. x: (time, features)."""
    settings = {"lr": LEAK_RATE, "sr": 0.9, "rc_connectivity": DENSITY, "seed": 0}
    whole, single = reservoir(units, **settings), reservoir(units, **settings)
    given, first = x.astype(np.float64), x[0].astype(np.float64)
    for node in (whole, single):
        node.initialize(given)

    def run() -> Array:
        whole.reset()
        states: Array = whole.run(given)
        return states

    weights, w_in = (torch.from_numpy(matrix.toarray()).float() for matrix in (whole.W, whole.Win))
    expected = _eager(weights, w_in, torch.zeros(units), x)().numpy()
    np.testing.assert_allclose(run(), expected, atol=1e-4, err_msg="reservoirpy")
    return run, lambda: single.step(first)


def _lines(units: int, cells: Cells) -> Iterator[str]:
    for name in (*TOPOLOGIES, *PEERS):
        size = units if name in TOPOLOGIES else PEER_UNITS.get(units, units)
        columns = "".join(_figure(cells.get((name, form)), 11 if form == "loop" else 9) for form in FORMS)
        yield f"{name:14}{size:>6}{columns}"


def _figure(value: float | None, width: int) -> str:
    return f"{'' if value is None else f'{value:.1f}':>{width}}"


def _ratios(units: int, cells: Cells) -> Iterator[tuple[str, bool]]:
    """Each ratio as a line, and whether it is above its aim."""
    for name, above, below, aim in RATIOS:
        if below not in cells:
            continue
        ratio = cells[above] / cells[below]
        told = f" (at most {aim})" if units == 1024 else ""
        yield f"{name}: {ratio:.2f}{told}", units == 1024 and ratio > aim


if __name__ == "__main__":
    sys.exit(main())
