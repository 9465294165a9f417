"""Cells of one's own: in a Python loop, which no exporter follows, and as a step that edgeseq repeats."""

import torch
from edgeseq_export import recur
from torch import nn
from torch.nn import functional


class LoopedCell(nn.Module):
    """An LSTM cell in a Python loop over time."""

    def __init__(self):
        super().__init__()
        self.cell = nn.LSTMCell(3, 6)
        self.fc = nn.Linear(6, 2)

    def forward(self, x):
        h = c = torch.zeros(x.size(0), 6)
        outputs = []
        for step in x.unbind(1):
            h, c = self.cell(step, (h, c))
            outputs.append(h)
        return self.fc(torch.stack(outputs, dim=1))


class CellStep(nn.Module):
    """One step of it."""

    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def forward(self, h, c, x):
        h, c = self.cell(x, (h, c))
        return h, c, h


class RepeatedCell(LoopedCell):
    """The same network, rewritten: the weights have the same names."""

    def forward(self, x):
        zeros = x.new_zeros(x.size(0), 6)
        _, (y,) = recur(CellStep(self.cell), (zeros, zeros.clone()), (x.transpose(0, 1),))
        return self.fc(y.transpose(0, 1))


class StreamedCell(LoopedCell):
    """Rewritten with its states as parameters, so that it streams."""

    def forward(self, x, h=None, c=None):
        if h is None:
            h, c = x.new_zeros(x.size(0), 6), x.new_zeros(x.size(0), 6)
        (h, c), (y,) = recur(CellStep(self.cell), (h, c), (x.transpose(0, 1),))
        return self.fc(y.transpose(0, 1)), h, c


class MinGRU(nn.Module):
    """A minimal GRU (Feng et al. 2024, section 3.1.2): the gate and the candidate do not read the state."""

    class Step(nn.Module):
        def forward(self, h, gate, candidate):
            h = (1 - gate) * h + gate * candidate
            return h, h

    def __init__(self):
        super().__init__()
        self.gate, self.candidate = nn.Linear(3, 6), nn.Linear(3, 6)
        self.step = self.Step()

    def forward(self, x, h=None):
        gate, candidate = torch.sigmoid(self.gate(x)), self.candidate(x)
        if h is None:
            h = x.new_zeros(x.shape[0], 6)
        (h,), (y,) = recur(self.step, (h,), (gate.transpose(0, 1), candidate.transpose(0, 1)))
        return y.transpose(0, 1), h


class Peephole(nn.Module):
    """An LSTM whose gates see the cell (Gers and Schmidhuber 2000), over rows of different lengths."""

    class Step(nn.Module):
        def __init__(self, hidden):
            super().__init__()
            self.w_hh = nn.Linear(hidden, 4 * hidden)
            self.peep = nn.Parameter(torch.randn(3, hidden))

        def forward(self, h, c, z):
            i, f, g, o = (z + self.w_hh(h)).chunk(4, dim=-1)
            i = torch.sigmoid(i + self.peep[0] * c)
            f = torch.sigmoid(f + self.peep[1] * c)
            c = f * c + i * torch.tanh(g)
            h = torch.sigmoid(o + self.peep[2] * c) * torch.tanh(c)
            return h, c, h

    def __init__(self):
        super().__init__()
        self.w_ih = nn.Linear(4, 20, bias=False)
        self.step = self.Step(5)

    def forward(self, x, lengths):
        zeros = x.new_zeros(x.size(0), 5)
        (h, _), (y,) = recur(self.step, (zeros, zeros + 0), (self.w_ih(x).transpose(0, 1),), lengths)
        return {"y": y.transpose(0, 1), "last": h}


class OneStep(nn.Module):
    """A cell and a head, called for one step at a time, as a decoder is."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(4, 6)
        self.head = nn.Linear(6, 4)

    def forward(self, x, h):
        h = self.cell(x, h)
        return functional.log_softmax(self.head(h), dim=-1), h


class Leaking(nn.Module):
    """One step of a reservoir that is handed its matrix."""

    def __init__(self, matrix):
        super().__init__()
        self.register_buffer("matrix", matrix)

    def forward(self, state, driven):
        state = 0.7 * state + 0.3 * torch.tanh(driven + state @ self.matrix)
        return state, state


class BuiltInForward(nn.Module):
    """A step is built anew in each call, around a tensor of the network."""

    def __init__(self):
        super().__init__()
        self.register_buffer("matrix", torch.eye(4))

    def forward(self, x):
        _, (y,) = recur(Leaking(self.matrix), (x.new_zeros(x.shape[0], 4),), (x.transpose(0, 1),))
        return y.transpose(0, 1)
