"""The adding problem: can a recurrent network add two numbers that lie far apart in a long sequence?

Hochreiter and Schmidhuber, "Long Short-Term Memory", 1997, section 5.4, in the form of Le, Jaitly and Hinton, 2015:
each step has a number between 0 and 1 and a mark; one step in the first half and one in the second are marked, and the
sum of their numbers is the answer after the last step. Answering 1 every time gives a mean squared error of 0.167.

    python benchmarks/long_term.py                 # the whole table, one thread: some 10 to 20 minutes
    python benchmarks/long_term.py --steps 200 --networks LSTM GRU
"""

import argparse
import copy
import math
import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from edgeseq.nn import Network, build

TARGET = 0.01
"""The mean squared error below which the problem counts as solved; LSTM and GRU must get there on 200 steps."""

BATCH, EVERY, FRESH = 20, 100, 1000
"""Sequences an update; updates between looks at the error; sequences it is measured on, which are never trained on: one
set while training, to stop and to keep the best state, and another of that state at the end."""


@dataclass(frozen=True)
class Row:
    """One network. settings: its config beside the sizes; train: learning rate, and the largest gradient norm."""

    family: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    learning_rate: float = 0.01
    clip: float = 0.1


ROWS = {
    "plain RNN": Row("rnn", learning_rate=0.001, clip=1.0),
    "RNN + techniques": Row("rnn", {"nonlinearity": "relu", "recurrent_init": "identity"}, 0.0005, clip=0.01),
    "LSTM": Row("lstm", {"forget_bias": 1.0, "recurrent_init": "orthogonal"}),
    "GRU": Row("gru", {"recurrent_init": "orthogonal"}),
}


@dataclass(frozen=True)
class Result:
    """error: the mean squared error of the best state, on sequences that did not choose it; updates: what led to it."""

    error: float
    updates: int
    seconds: float


def main() -> int:
    """Print the table; 1 where LSTM or GRU did not solve 200 steps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", nargs="+", type=int, default=[100, 200, 400])
    parser.add_argument("--networks", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--updates", type=int, default=6000, help="at most so many for each line")
    parser.add_argument("--seconds", type=float, default=150.0, help="at most so long for each line")
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}, one thread")
    print(f"{arguments.hidden} units, {BATCH} sequences an update; each line stops at {TARGET / 5}\n")
    print(f"{'network':18}{'steps':>6}{'error':>10}{'updates':>9}{'seconds':>9}  settings")
    solved = True
    for steps in arguments.steps:
        for name in arguments.networks:
            row = ROWS[name]
            result = learn(row, steps, arguments)
            told = ", ".join(f"{key} {value}" for key, value in row.settings.items()) or "none"
            told += f"; learning rate {row.learning_rate:g}, clip {row.clip:g}"
            print(f"{name:18}{steps:6}{result.error:10.4f}{result.updates:9}{result.seconds:9.0f}  {told}", flush=True)
            solved &= steps != 200 or row.family == "rnn" or result.error < TARGET
    return 0 if solved else 1


def learn(row: Row, steps: int, limits: argparse.Namespace) -> Result:
    """Train one network until it has solved the problem well, or the limits are reached."""
    torch.manual_seed(limits.seed)
    network = make(row, limits.hidden)
    optimiser = torch.optim.AdamW(network.parameters(), lr=row.learning_rate, weight_decay=0.0)
    generator = torch.Generator().manual_seed(limits.seed + 1)
    fresh = sequences(FRESH, steps, torch.Generator().manual_seed(limits.seed + 2))
    start, lowest, best = time.perf_counter(), math.inf, copy.deepcopy(network.state_dict())
    result = Result(math.inf, 0, 0.0)
    for update in range(1, limits.updates + 1):
        batch = sequences(BATCH, steps, generator)
        loss = network.loss(network(x=batch["x"]), batch)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), row.clip)
        optimiser.step()
        seconds = time.perf_counter() - start
        if update % EVERY == 0:
            error = measure(network, fresh)
            if error < lowest:
                lowest, best = error, copy.deepcopy(network.state_dict())
                result = Result(error, update, seconds)
            if lowest < TARGET / 5 or seconds > limits.seconds or not math.isfinite(error):
                break
    network.load_state_dict(best)
    final = sequences(FRESH, steps, torch.Generator().manual_seed(limits.seed + 3))
    return replace(result, error=measure(network, final))


def measure(network: Network, batch: Mapping[str, Tensor]) -> float:
    """The mean squared error."""
    with torch.no_grad():
        return float(network.loss(network(x=batch["x"]), batch))


def make(row: Row, hidden_size: int) -> Network:
    """A network that reads two features and answers with one value after the last step."""
    sizes = {"input_size": 2, "output_size": 1, "hidden_size": hidden_size, "head": "last", "task": "forecast"}
    return build(row.family, {**sizes, "ragged": False, "standardise": False, **row.settings}).train()


def sequences(count: int, steps: int, generator: torch.Generator) -> dict[str, Tensor]:
    """x: float32 (count, steps, 2), numbers and marks; y: (count, 1), the sum of the two marked numbers."""
    x = torch.zeros(count, steps, 2)
    x[:, :, 0] = torch.rand(count, steps, generator=generator)
    first = torch.randint(steps // 2, (count,), generator=generator)
    second = torch.randint(steps // 2, steps, (count,), generator=generator)
    rows = torch.arange(count)
    x[rows, first, 1] = x[rows, second, 1] = 1
    return {"x": x, "y": (x[rows, first, 0] + x[rows, second, 0])[:, None]}


if __name__ == "__main__":
    sys.exit(main())
