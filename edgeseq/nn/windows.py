"""Windows of sequences, each an example by itself."""

import numpy as np
from edgeseq_runtime.errors import UsageError
from numpy.lib.stride_tricks import sliding_window_view

from edgeseq.data import Dataset


def windows(data: Dataset, size: int) -> Dataset:
    """Every window of `size` steps, a step apart: x float32 (windows, size, features), of one sequence after the other.

    y: what it is at each window's last step, or the sequence's own answer.

    Raises:
        UsageError: x is no sequences of numbers, or a sequence is shorter than a window.
    """
    if data.lengths is None or data.x.ndim != 3:
        raise UsageError(f"windows are cut from sequences (n, time, features), but x has shape {data.x.shape}")
    short = int(data.lengths.min())
    if short < size:
        raise UsageError(f"the window has {size} steps, but the shortest sequence only {short}; choose a smaller one")
    x = [sliding_window_view(row[:end], size, 0).swapaxes(1, 2) for row, end in zip(data.x, data.lengths, strict=True)]
    counts = [len(each) for each in x]
    if data.stepwise:
        y = [row[size - 1 : end] for row, end in zip(data.y, data.lengths, strict=True)]
    else:
        y = [np.repeat(row[None], count, 0) for row, count in zip(data.y, counts, strict=True)]
    return Dataset(np.concatenate(x), np.concatenate(y), labels=data.labels)
