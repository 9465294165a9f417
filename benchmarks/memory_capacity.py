"""What a faster topology costs in quality: the memory of reservoirs, and a task that needs memory and nonlinearity.

Memory capacity (Jaeger, "Short term memory in echo state networks", 2002): the sum over delays 1, 2, … of the squared
correlation between a random input so many steps ago and what is reconstructed from the states; at most one a unit.
NARMA-10 (Atiya and Parlos 2000): y(t+1) = 0.3 y(t) + 0.05 y(t) Σ y(t−i) + 1.5 u(t−9) u(t) + 0.1, i from 0 to 9, u
uniform in [0, 0.5]; the root mean squared error of y(t+1) from u up to t, in units of its deviation.

Spectral radius and input scaling are chosen for each line on steps of their own, with a reservoir of their own.

    python benchmarks/memory_capacity.py                 # the whole table, as Markdown: about 4 minutes
    python benchmarks/memory_capacity.py --units 512 --topologies "block, 32" --density 0.2
"""

import argparse
import os
import platform
import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import torch
from numpy.typing import NDArray

from edgeseq.fit import ridge
from edgeseq.nn import build
from edgeseq.nn.esn import Esn

Array = NDArray[Any]

LEAD_IN, TRAIN, CHOOSE, TEST = 600, 2000, 1000, 2000
"""Steps: before anything is scored, that the readout is fitted to, that settings are chosen on, that are reported."""

RADII, SCALINGS = (0.8, 0.9, 0.95, 0.99), (0.01, 0.03, 0.1)
PENALTIES = tuple(10.0**exponent for exponent in range(-14, 1, 2))

TOPOLOGIES: Mapping[str, Mapping[str, Any]] = {
    "random": {"topology": "random"},
    "block, 32": {"topology": "block", "block_size": 32},
    "block, 64": {"topology": "block", "block_size": 64},
    "cycle": {"topology": "cycle"},
}


@dataclass(frozen=True)
class Task:
    """A series to follow.

    make: from units, random input (time,) and targets (time, outputs). figure: of predictions and targets.
    sign: 1 where more is better, else -1. settings: of the reservoir.
    """

    make: Callable[[int], tuple[Array, Array]]
    figure: Callable[[Array, Array], float]
    sign: int
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """The figure of each seed, and the settings they were reached with."""

    figures: tuple[float, ...]
    radius: float
    scaling: float

    def __str__(self) -> str:
        mean, deviation = statistics.mean(self.figures), statistics.stdev(self.figures)
        digits = 1 if mean > 10 else 3
        return f"{mean:.{digits}f} ± {deviation:.{digits}f} | {self.radius}, {self.scaling}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", nargs="+", type=int, default=[128, 256, 512], help="multiples of 64")
    parser.add_argument("--topologies", nargs="+", default=list(TOPOLOGIES), choices=list(TOPOLOGIES))
    parser.add_argument("--density", type=float, default=0.1)
    parser.add_argument("--seeds", type=int, default=5, help="reservoirs a line, at least 2")
    arguments = parser.parse_args()
    if odd := [units for units in arguments.units if units % 64]:
        parser.error(f"--units {odd[0]} is not a multiple of 64, the larger block size")
    if arguments.seeds < 2:
        parser.error(f"--seeds is {arguments.seeds}, but a deviation needs at least 2")
    torch.set_num_threads(1)
    told = f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}"
    print(f"{told}; density {arguments.density}, {arguments.seeds} reservoirs a line", file=sys.stderr)
    print("| units | topology | memory capacity | radius, scaling | NARMA-10 NRMSE | radius, scaling |")
    print("| ---: | --- | ---: | --- | ---: | --- |")
    for units, name in product(arguments.units, arguments.topologies):
        settings = {**TOPOLOGIES[name], "density": arguments.density}
        columns = " | ".join(str(evaluate(task, units, settings, arguments.seeds)) for task in TASKS.values())
        print(f"| {units} | {name} | {columns} |", flush=True)


def evaluate(task: Task, units: int, settings: Mapping[str, Any], seeds: int) -> Result:
    """Choose radius and scaling with seed 0, and report seeds 1, 2, … on other steps."""
    x, y = task.make(units)
    choosing, testing = slice(TRAIN, TRAIN + CHOOSE), slice(TRAIN + CHOOSE, None)

    def figure(radius: float, scaling: float, seed: int, scored: slice) -> float:
        config = {**settings, **task.settings, "units": units, "spectral_radius": radius, "input_scaling": scaling}
        states = run_reservoir(config, x, seed)[LEAD_IN:]
        targets = y[LEAD_IN:]
        found = ridge(states[:TRAIN], targets[:TRAIN], PENALTIES)
        return task.figure(states[scored] @ found.weights + found.bias, targets[scored])

    pairs = product(RADII, SCALINGS)
    radius, scaling = max(pairs, key=lambda pair: task.sign * figure(pair[0], pair[1], 0, choosing))
    return Result(tuple(figure(radius, scaling, seed, testing) for seed in range(1, seeds + 1)), radius, scaling)


def run_reservoir(config: Mapping[str, Any], x: Array, seed: int) -> Array:
    """The states (time, units) of the esn family's reservoir over an input (time,), from rest."""
    torch.manual_seed(seed)
    network = build("esn", {"input_size": 1, "output_size": 1, "task": "forecast", "stepwise": True, **config})
    assert isinstance(network, Esn)
    network.initialise()
    with torch.no_grad():
        inputs = torch.from_numpy(x.astype(np.float32))[:, None, None]
        states, _ = network.layers[0](inputs, (torch.zeros(1, 1, network.config.units),))
    return np.asarray(states[:, 0].double())


def memory_task(units: int) -> tuple[Array, Array]:
    """A uniform input in [-1, 1], and as targets the input 1 to `units` steps ago; 0 before there was one."""
    x = np.random.default_rng(0).uniform(-1, 1, LEAD_IN + TRAIN + CHOOSE + TEST)
    delayed = np.stack([np.concatenate([np.zeros(delay), x[:-delay]]) for delay in range(1, units + 1)], 1)
    return x, delayed


def memory_capacity(predicted: Array, y: Array) -> float:
    """The sum of squared correlations, less what predictions without any memory would have by chance."""
    a, b = predicted - predicted.mean(0), y - y.mean(0)
    above, below = (a * b).sum(0) ** 2, (a**2).sum(0) * (b**2).sum(0)
    squared = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    return float(np.maximum(squared - 1 / (len(y) - 1), 0).sum())


def narma_task(units: int) -> tuple[Array, Array]:
    """The standardised input, and the next value of the series; the same for all units."""
    count = LEAD_IN + TRAIN + CHOOSE + TEST
    u = np.random.default_rng(0).uniform(0, 0.5, count + 10)
    y = np.zeros(count + 11)
    for t in range(9, count + 10):
        y[t + 1] = 0.3 * y[t] + 0.05 * y[t] * y[t - 9 : t + 1].sum() + 1.5 * u[t - 9] * u[t] + 0.1
    return (u[10:] - 0.25) / (0.5 / 12**0.5), y[11:, None]


def relative_error(predicted: Array, y: Array) -> float:
    """The root mean squared error in units of the targets' deviation."""
    return float(np.sqrt(((predicted - y) ** 2).mean()) / y.std())


TASKS = {
    "memory": Task(memory_task, memory_capacity, 1),
    "narma": Task(narma_task, relative_error, -1, {"bias": 0.2}),
}


if __name__ == "__main__":
    main()
