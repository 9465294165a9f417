"""CTC: the loss is the sum over paths, greedy decoding is what its definition says, the distance is a metric."""

from itertools import groupby, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseq.nn.ctc import PADDING, ctc_loss, greedy
from edgeseq.nn.edits import edit_distance

CLASSES = 3
BLANK = CLASSES
transcripts = st.lists(st.integers(0, CLASSES), max_size=8)


def collapse(path):
    """Graves et al. 2006: join repeats, then remove blanks."""
    return [symbol for symbol, _ in groupby(path) if symbol != BLANK]


@st.composite
def paths(draw):
    """Rows of symbols, the blank among them, and how many count."""
    frames = draw(st.integers(1, 9))
    row = st.lists(st.integers(0, BLANK), min_size=frames, max_size=frames)
    rows = draw(st.lists(row, min_size=1, max_size=4))
    return rows, [draw(st.integers(0, frames)) for _ in rows]


@given(paths())
@settings(deadline=None)
def test_greedy_is_collapse(case):
    rows, lengths = case
    logits = torch.nn.functional.one_hot(torch.tensor(rows), CLASSES + 1).float()
    labels, counts = greedy(logits, torch.tensor(lengths))
    assert labels.dtype == counts.dtype == torch.int64
    assert labels.shape == (len(rows), len(rows[0]))
    for row, length, found, count in zip(rows, lengths, labels.tolist(), counts.tolist(), strict=True):
        wanted = collapse(row[:length])
        assert found == wanted + [PADDING] * (len(row) - len(wanted))
        assert count == len(wanted)


@pytest.mark.parametrize("target", [[0], [1, 1], [0, 2], [2, 2, 0], []])
def test_loss_is_the_sum_over_all_paths(target):
    frames = 5
    logits = torch.randn(1, frames, CLASSES + 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    p = logits.softmax(-1)[0].numpy()
    matching = [path for path in product(range(CLASSES + 1), repeat=frames) if collapse(path) == target]
    total = sum(np.prod(p[np.arange(frames), path]) for path in matching)
    y = torch.tensor([target + [0] * (3 - len(target))])
    loss = ctc_loss(logits, torch.tensor([frames]), y, torch.tensor([len(target)]))
    assert loss.item() == pytest.approx(-np.log(total) / max(len(target), 1), rel=1e-6)


def test_a_row_too_short_for_its_labels_does_not_make_the_loss_infinite():
    logits = torch.zeros(2, 4, CLASSES + 1, requires_grad=True)
    loss = ctc_loss(logits, torch.tensor([1, 4]), torch.tensor([[0, 1], [0, 1]]), torch.tensor([2, 2]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def recursive(one, other):
    if not one or not other:
        return len(one) + len(other)
    swap = recursive(one[1:], other[1:]) + (one[0] != other[0])
    return min(swap, recursive(one[1:], other) + 1, recursive(one, other[1:]) + 1)


@given(st.lists(st.integers(0, 2), max_size=5), st.lists(st.integers(0, 2), max_size=5))
@settings(deadline=None)
def test_edit_distance_is_its_definition(one, other):
    assert edit_distance(one, other) == recursive(one, other)


@given(transcripts, transcripts, transcripts)
def test_edit_distance_is_a_metric(one, other, third):
    assert (edit_distance(one, other) == 0) == (one == other)
    assert edit_distance(one, other) == edit_distance(other, one)
    assert edit_distance(one, third) <= edit_distance(one, other) + edit_distance(other, third)
