"""A live filter: a line of numbers in is one step, a line out is its answer, at once.

sensor | python live_filter.py lstm.onnx | actuator

A line that cannot be used is answered by "error", so that what comes out stays aligned with what went in; the reason
goes to standard error, and the stream's state is as before.
"""

import sys

import numpy as np
from edgeseq_runtime import load
from edgeseq_runtime.errors import InputError


def main(path: str) -> None:
    """Filter standard input until it ends, or until nobody reads any more."""
    stream = load(path).stream()
    for number, line in enumerate(sys.stdin, 1):
        try:
            answer = next(iter(stream.step(frame(line)).values()))
            print(",".join(f"{value:.6g}" for value in answer.ravel()), flush=True)
        except (InputError, ValueError) as error:
            print("error", flush=True)
            print(f"line {number}: {error}", file=sys.stderr)


def frame(line: str) -> np.ndarray:
    """The numbers of a line, float32 (features,)."""
    return np.array([float(cell) for cell in line.replace(",", " ").split()], np.float32)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: sensor | python live_filter.py MODEL.onnx | actuator")
    try:
        main(sys.argv[1])
    except (BrokenPipeError, KeyboardInterrupt):
        sys.stderr.close()  # nobody listens: no complaint when the interpreter flushes what is left
        sys.exit(0)
