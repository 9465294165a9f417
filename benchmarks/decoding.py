"""What decoding costs: edgeseq's unrolled and loop files beside a plain loop in PyTorch, all in one run.

One thread; milliseconds a call, the encoder included, medians of calls in interleaved turns. A network with attention
reads 10 tokens and generates up to 40 symbols, greedily or by beam search; in half of the rows it ends after 10 of
them, all rows and hypotheses at once, which PyTorch and the loop form make use of and the unrolled form cannot. Before
a row is timed, all three are checked to say the same symbols, and to end where they should.

    python benchmarks/decoding.py                 # the whole table: about 8 minutes
    python benchmarks/decoding.py --quick         # hidden size 256 alone, less time for each call
    python benchmarks/decoding.py --hidden 128 --batch 1

Exit status 1: a file is less far ahead than its aim, or 40 unrolled steps take too long to export.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import onnxruntime as ort
import torch
from edgeseq_export import Source, convert
from edgeseq_runtime import load
from edgeseq_runtime.measure import measure
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from edgeseq.nn import build
from edgeseq.nn.seq2seq import Seq2Seq
from edgeseq.nn.seq2seq_config import END, PADDING, START

Array = NDArray[Any]
Call = Callable[[], object]
Said = Mapping[str, Array]
"""`generated` int64 (batch, LENGTH), by beam search (batch, WIDTH, LENGTH); `scores` float32, without the last axis."""

TOKENS, SOURCE = 100, 10
SYMBOLS, LENGTH, WIDTH = 1000, 40, 4
STOP = LENGTH // 4
"""The step at which a network that stops says the end symbol."""

DECODINGS = ("greedy", "beam")
FORMS = ("unroll", "loop")
COLUMNS = ("PyTorch", *FORMS)
QUICK = 256
"""The hidden size of --quick, and of what an export costs."""

FASTER = {1: 1.7, 8: 2.3}
"""How many times faster than PyTorch the better form should be at least, by batch, where all steps are made."""

STOPPED = 2.5
"""How many times faster than `unroll` the form `loop` should be at least, where it stops at a quarter of the length."""

EXPORT_SECONDS = 2.0
"""What the unrolled steps from the third to the last may add to an export at most."""

OPEN, SHARP, LOUD = 30.0, 100.0, 20.0
"""Of the counting unit: the bias that opens a gate fully, how sharply the output layer tells the steps before STOP from
those after it, and the end symbol's score on either side. Small enough that no probability is subnormal, which is slow.
"""


@dataclass(frozen=True)
class Setting:
    """What a network is built for: its hidden size, how it decodes, and whether it stops at STOP."""

    hidden: int
    decode: str
    stops: bool
    length: int = LENGTH

    @property
    def name(self) -> str:
        """Of a row."""
        return f"{self.decode if self.decode == 'greedy' else f'beam {WIDTH}'}, {STOP if self.stops else LENGTH} steps"


def main() -> int:
    """Print the table, the ratios and what an export costs; 1 where an aim is missed."""
    arguments = _arguments()
    torch.set_num_threads(1)
    print(
        f"{platform.machine()}, Python {platform.python_version()}, onnxruntime {ort.__version__}, torch "
        f"{torch.__version__}, one thread; ms a call, medians of calls in interleaved turns"
    )
    print(f"LSTM, attention, {SOURCE} tokens read, up to {LENGTH} of {SYMBOLS:,} symbols generated")
    missed = False
    for hidden in arguments.hidden:
        print(f"\n{'hidden':>6}{'batch':>7}  {'':18}" + "".join(f"{column:>10}" for column in COLUMNS), flush=True)
        ratios: list[tuple[str, bool]] = []
        for setting, batch, cells in _rows(hidden, arguments):
            figures = "".join(f"{cells[column]:>10.2f}" for column in COLUMNS)
            print(f"{hidden:>6}{batch:>7}  {setting.name:18}{figures}", flush=True)
            ratios += _ratios(setting, batch, cells)
        missed |= _told(ratios)
    return int(missed | _told(_export_costs(arguments.hidden)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", nargs="+", type=int, help="hidden sizes (128, 256 and 512)")
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 8], help="rows in a call (1 and 8)")
    parser.add_argument("--quick", action="store_true", help=f"hidden size {QUICK} alone, less time for each call")
    arguments = parser.parse_args()
    if min(arguments.batch) < 1:
        parser.error(f"--batch {min(arguments.batch)} has no rows; give 1 or more")
    arguments.hidden = arguments.hidden or ([QUICK] if arguments.quick else [128, QUICK, 512])
    arguments.seconds = 0.5 if arguments.quick else 2.0
    return arguments


def make_network(setting: Setting) -> Seq2Seq:
    """A network of random weights that ends at STOP in every row and hypothesis, or never.

    Whether it ends is the end symbol's bias alone: all else, and so the cost of a step, is the same.
    """
    torch.manual_seed(0)
    sizes = {"input_size": 1, "vocabulary_size": TOKENS, "output_size": SYMBOLS, "max_length": setting.length}
    ways = {"decode": setting.decode, "beam_width": WIDTH, "n_best": WIDTH if setting.decode == "beam" else 1}
    network = build("seq2seq", {**sizes, **ways, "hidden_size": setting.hidden, "attention": "general"})
    assert isinstance(network, Seq2Seq)
    with torch.no_grad():
        network.output.head.weight *= 10  # scores far enough apart that no choice hangs on rounding
        _count_steps(network)
        network.output.head.bias[END] = 0.0 if setting.stops else -3 * LOUD
    return network.eval()


def _count_steps(network: Seq2Seq) -> None:
    """Have the decoder's first unit count its steps, and the end symbol's score cross all others at STOP.

    Its cell starts from 0, as the encoder's does, and with both gates open adds 1 / STOP at each step.
    """
    w_ih, w_hh, b_ih, b_hh = network.encoder[0].direction_weights(0)  # type: ignore[operator]
    for weight in (w_ih, w_hh, b_ih, b_hh):
        weight[2 * len(weight) // 4] = 0  # the row of the candidate, which stays 0 and so the cell
    w_ih, w_hh, b_ih, b_hh = network.decoder[0].direction_weights(0)  # type: ignore[operator]
    hidden = w_hh.shape[1]
    for gate, bias in enumerate((OPEN, OPEN, np.arctanh(1 / STOP), OPEN)):
        w_ih[gate * hidden], w_hh[gate * hidden], b_ih[gate * hidden], b_hh[gate * hidden] = 0, 0, float(bias), 0
    output = network.output
    assert output.combine is not None
    output.combine.weight[0], output.head.weight[:, 0], output.head.weight[END] = 0, 0, 0
    output.combine.weight[0, hidden] = SHARP  # behind what attention brings stands the state
    output.combine.bias[0] = -SHARP * float(np.tanh(1 - 0.5 / STOP))
    output.head.weight[END, 0] = LOUD


def _rows(hidden: int, arguments: argparse.Namespace) -> Iterator[tuple[Setting, int, Mapping[str, float]]]:
    """The rows of one hidden size: setting, batch, and milliseconds by column."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for setting in (Setting(hidden, decode, stops) for decode in DECODINGS for stops in (False, True)):
            network = make_network(setting)
            for form in FORMS:
                Path(folder, f"{setting.name} {form}").write_bytes(exported(network, form))
            found.append((setting, network))
        for batch in arguments.batch:
            for setting, network in found:
                paths = {form: Path(folder, f"{setting.name} {form}") for form in FORMS}
                yield setting, batch, _timed(setting, batch, _calls(network, paths, batch), arguments.seconds)


def exported(network: Seq2Seq, form: str) -> bytes:
    """A file's bytes, not proven."""
    source = Source(
        network,
        network.signature(),
        "seq2seq",
        network.task,
        "seq2seq",
        values=network.values(),
        fixes_axes=network.fixes_axes,
    )
    return convert(source, form=form)


def _calls(network: Seq2Seq, paths: Mapping[str, Path], batch: int) -> dict[str, Callable[[], Said]]:
    """The three columns of a row."""
    tokens = np.random.default_rng(0).integers(0, TOKENS, (batch, SOURCE))
    eager = Eager(network)
    given = torch.from_numpy(tokens)
    unrolled, loop = (load(paths[form], provider="cpu", threads=1) for form in FORMS)
    return {
        "PyTorch": lambda: eager(given),
        "unroll": lambda: unrolled.run(tokens),
        "loop": lambda: loop.run(tokens),
    }


def _timed(setting: Setting, batch: int, calls: Mapping[str, Callable[[], Said]], seconds: float) -> dict[str, float]:
    """Milliseconds a call by column, after a look that all of them say the same and end where they should."""
    said = {name: call() for name, call in calls.items()}
    for name in FORMS:
        where = f"{setting}, batch {batch}, {name}"
        np.testing.assert_array_equal(said[name]["generated"], said["PyTorch"]["generated"], err_msg=where)
        np.testing.assert_allclose(said[name]["scores"], said["PyTorch"]["scores"], rtol=1e-4, err_msg=where)
    symbols, place = said["PyTorch"]["generated"], np.arange(LENGTH)
    ends, filled = setting.stops & (place == STOP - 1), setting.stops & (place >= STOP)
    if ((symbols == END) != ends).any() or ((symbols == PADDING) != filled).any():
        raise AssertionError(f"{setting}, batch {batch}: not every row ends where it should: {symbols}")
    return {name: latency.p50_us / 1000 for name, latency in measure(calls, seconds).items()}


class Eager:
    """The same network as one would write it by hand in PyTorch: a plain loop that ends when all rows have.

    Greedy or beam search as the network's config says, with the same scores and, where a hypothesis ends before the
    others, the same rules as the files; without the margins that the proof asks for, nor a length penalty.
    """

    def __init__(self, network: Seq2Seq) -> None:
        output = network.output
        assert output.attention is not None
        assert output.attention.memory is not None
        assert output.combine is not None
        assert network.embedding is not None
        assert network.target is not None
        self.beam = network.config.decode == "beam"
        self.source, self.target = network.embedding.weight, network.target.weight
        self.encoder = network.encoder[0].net
        self.cell = network.decoder[0].direction_weights(0)  # type: ignore[operator]
        self.keys, self.combine, self.head = output.attention.memory, output.combine, output.head.weight
        self.bias = output.head.bias.detach().clone()
        self.bias[[PADDING, START]] = -torch.inf  # they are never said

    def __call__(self, tokens: Tensor) -> Said:
        """tokens: int64 (batch, time)."""
        with torch.inference_mode():
            memory, (h, c) = self.encoder(F.embedding(tokens, self.source).transpose(0, 1))  # type: ignore[operator]
            memory = memory.transpose(0, 1)
            keys = self.keys(memory).transpose(1, 2)
            h, c = (state.transpose(0, 1).flatten(1) for state in (h, c))
            symbols, scores = (self._beam if self.beam else self._greedy)(h, c, keys, memory)
        return {"generated": F.pad(symbols, (0, LENGTH - symbols.shape[-1])).numpy(), "scores": scores.numpy()}

    def _step(self, symbol: Tensor, h: Tensor, c: Tensor, keys: Tensor, memory: Tensor) -> tuple[Tensor, ...]:
        """Log probabilities (batch, hypotheses, symbols) and the next states.

        symbol: (batch · hypotheses,), h and c: (batch · hypotheses, hidden). What they read is one for all hypotheses.
        """
        h, c = torch.lstm_cell(F.embedding(symbol, self.target), (h, c), *self.cell)
        query = h.view(len(memory), -1, h.shape[1])
        seen = torch.bmm(torch.bmm(query, keys).softmax(-1), memory)
        combined = torch.tanh(self.combine(torch.cat([seen, query], -1)))
        return F.linear(combined, self.head, self.bias).log_softmax(-1), h, c

    def _greedy(self, h: Tensor, c: Tensor, keys: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        symbol = torch.full((len(h),), START)
        score, ended = torch.zeros(len(h)), torch.zeros(len(h), dtype=torch.bool)
        said = []
        for _ in range(LENGTH):
            known, h, c = self._step(symbol, h, c, keys, memory)
            best, symbol = known[:, 0].max(-1)
            score = score + best.masked_fill(ended, 0)
            symbol = symbol.masked_fill(ended, PADDING)
            said.append(symbol)
            ended = ended | (symbol == END)
            if ended.all():
                break
        return torch.stack(said, 1), score

    def _beam(self, h: Tensor, c: Tensor, keys: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        batch, vocabulary = len(h), len(self.head)
        h, c = (state.repeat_interleave(WIDTH, 0) for state in (h, c))
        symbol, ended = torch.full((batch, WIDTH), START), torch.zeros(batch, WIDTH, dtype=torch.bool)
        score = torch.tensor([0.0] + [-torch.inf] * (WIDTH - 1)).repeat(batch, 1)  # they are all one at the start
        stays = torch.full((vocabulary,), -torch.inf)
        stays[PADDING] = 0
        first = torch.arange(batch)[:, None] * WIDTH
        steps: list[tuple[Tensor, Tensor]] = []
        for _ in range(LENGTH):
            known, h, c = self._step(symbol.view(-1), h, c, keys, memory)
            known = torch.where(ended[..., None], stays, known)
            score, chosen = (score[..., None] + known).view(batch, -1).topk(WIDTH)
            parent, symbol = chosen // vocabulary, chosen % vocabulary
            origin = (first + parent).view(-1)
            h, c = h.index_select(0, origin), c.index_select(0, origin)
            ended = ended.gather(1, parent) | (symbol == END)
            steps.append((parent, symbol))
            if ended.all():
                break
        return _traced_back(steps), score


def _traced_back(steps: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """The hypotheses (batch, WIDTH, steps) that parents and symbols, (batch, WIDTH) of each step, make."""
    at = torch.arange(WIDTH).expand(steps[0][0].shape)
    said = []
    for parent, symbol in reversed(steps):
        said.append(symbol.gather(1, at))
        at = parent.gather(1, at)
    return torch.stack(said[::-1], -1)


def _ratios(setting: Setting, batch: int, cells: Mapping[str, float]) -> Iterator[tuple[str, bool]]:
    """Each ratio of a row as a line, and whether it misses its aim."""
    better = min(FORMS, key=lambda form: cells[form])
    aims = {"PyTorch": None if setting.stops else FASTER.get(batch), "unroll": STOPPED if setting.stops else None}
    compared = {"PyTorch": better, **({"unroll": "loop"} if setting.stops else {})}
    for slower, faster in compared.items():
        ratio, aim = cells[slower] / cells[faster], aims[slower]
        told = f" (at least {aim})" if aim else ""
        yield (
            f"hidden {setting.hidden}, batch {batch}, {setting.name}: {faster} is {ratio:.2f} times faster than "
            f"{slower}{told}",
            aim is not None and ratio < aim,
        )


def _export_costs(sizes: Sequence[int]) -> Iterator[tuple[str, bool]]:
    """What an export takes, and how large its files are; and whether unrolling takes longer than its aim."""
    hidden = QUICK if QUICK in sizes else sizes[0]
    for decode in DECODINGS:
        setting = Setting(hidden, decode, stops=False)
        network = make_network(setting)
        short, _ = _converted(make_network(replace(setting, length=2)), "unroll")
        long, unrolled = _converted(network, "unroll")
        looped, loop = _converted(network, "loop")
        weights = sum(weight.numel() * weight.element_size() for weight in network.parameters())
        added = long - short
        yield (
            f"hidden {hidden}, {decode}: an unrolled export takes {short:.1f} s for 2 steps and {long:.1f} s for "
            f"{LENGTH}, {added:.1f} s more (less than {EXPORT_SECONDS:g}); loop, for {LENGTH}: {looped:.1f} s",
            added >= EXPORT_SECONDS,
        )
        told = ", ".join(f"{name} {size / 1e6:.2f} MB" for name, size in (("unroll", unrolled), ("loop", loop)))
        yield f"hidden {hidden}, {decode}: {told}; the weights alone {weights / 1e6:.2f} MB", False


def _converted(network: Seq2Seq, form: str) -> tuple[float, int]:
    """Seconds of processor time of the faster of two exports, its golden vectors included, and bytes."""
    seconds, size = [], 0
    for _ in range(2):
        start = time.process_time()
        size = len(exported(network, form))
        seconds.append(time.process_time() - start)
    return min(seconds), size


def _told(lines: Iterable[tuple[str, bool]]) -> bool:
    """Print the lines; whether an aim is missed."""
    missed = False
    print()
    for line, misses in lines:
        print(f"{line}{', MISSED' if misses else ''}", flush=True)
        missed |= misses
    return missed


if __name__ == "__main__":
    sys.exit(main())
