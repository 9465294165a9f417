"""Recurrent layers above each other and beside each other, with what people put between them."""

from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils import parametrizations


class NormedStack(nn.Module):
    """LSTM layers with layer norm between them."""

    def __init__(self, features=5, hidden=8, depth=3):
        super().__init__()
        sizes = [features] + [hidden] * depth
        self.lstms = nn.ModuleList(nn.LSTM(i, o, batch_first=True) for i, o in pairwise(sizes))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(depth))
        self.out = nn.Linear(hidden, 2)

    def forward(self, x):
        for lstm, norm in zip(self.lstms, self.norms, strict=True):
            x = norm(lstm(x)[0])
        logits = self.out(x)
        return logits


class ResidualGRU(nn.Module):
    """Each GRU adds to what it reads; the first and last frames are mapped by linear layers."""

    def __init__(self, features=4, hidden=6):
        super().__init__()
        self.inward = nn.Linear(features, hidden)
        self.blocks = nn.ModuleList(nn.GRU(hidden, hidden, batch_first=True) for _ in range(2))
        self.outward = nn.Linear(hidden, features)

    def forward(self, x):
        h = torch.relu(self.inward(x))
        for block in self.blocks:
            h = h + block(h)[0]
        return x + self.outward(h)


class Projected(nn.Module):
    """An LSTM whose hidden state is projected (proj_size), and only the last step is read."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(5, 8, proj_size=3, batch_first=True)
        self.fc = nn.Linear(3, 4)

    def forward(self, x):
        _, (hn, _) = self.rnn(x)
        return self.fc(hn[-1])


class Shared(nn.Module):
    """One LSTM is used twice: what it gives goes through it again."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(6, 6, batch_first=True)

    def forward(self, x):
        once, _ = self.rnn(x)
        twice, _ = self.rnn(once)
        return once + twice


class LearnedStart(nn.Module):
    """The first states are parameters."""

    def __init__(self):
        super().__init__()
        self.h0 = nn.Parameter(torch.randn(2, 1, 5))
        self.c0 = nn.Parameter(torch.randn(2, 1, 5))
        self.rnn = nn.LSTM(3, 5, num_layers=2, batch_first=True)

    def forward(self, x):
        n = x.size(0)
        y, _ = self.rnn(x, (self.h0.repeat(1, n, 1), self.c0.repeat(1, n, 1)))
        return y


class Nested(nn.Module):
    """Blocks inside blocks, with dropout and batch norm, of which eval mode leaves the statistics."""

    class Block(nn.Module):
        def __init__(self, features, hidden):
            super().__init__()
            self.norm = nn.BatchNorm1d(features)
            self.body = nn.Sequential(nn.Linear(features, hidden), nn.Dropout(0.5), nn.GELU())
            nn.init.normal_(self.norm.running_mean)
            nn.init.uniform_(self.norm.running_var, 0.5, 2)

        def forward(self, x):
            return self.body(self.norm(x.transpose(1, 2)).transpose(1, 2))

    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(self.Block(4, 6), self.Block(6, 6))
        self.inner = nn.ModuleDict({"rnn": nn.GRU(6, 7, num_layers=2, dropout=0.3, batch_first=True)})

    def forward(self, x):
        return self.inner["rnn"](self.blocks(x))[0]


class WeightNormed(nn.Module):
    """An LSTM whose recurrent weights are a direction and a length (parametrizations.weight_norm)."""

    def __init__(self):
        super().__init__()
        self.rnn = parametrizations.weight_norm(nn.LSTM(4, 6, batch_first=True), "weight_hh_l0")
        self.fc = parametrizations.weight_norm(nn.Linear(6, 2))

    def forward(self, x):
        return self.fc(self.rnn(x)[0])


class Unbiased(nn.Module):
    """A two-layer LSTM without biases."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(4, 6, num_layers=2, bias=False)

    def forward(self, x):
        return self.rnn(x)[0].mean(-1)


class ReluRNN(nn.Module):
    """A plain RNN with ReLU, the form that a stock exporter unrolls."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(3, 6, nonlinearity="relu", batch_first=True)

    def forward(self, x):
        return self.rnn(x)[0]


class Double(nn.Module):
    """All weights in double precision, as scientists keep them; a scale is a buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.tensor([0.5, 2.0, 1.0]))
        self.rnn = nn.GRU(3, 5, batch_first=True)
        self.fc = nn.Linear(5, 1)
        self.double()

    def forward(self, x):
        y, _ = self.rnn(x * self.scale)
        return self.fc(y).squeeze(-1)


class OwnLSTM(nn.LSTM):
    """A class of one's own on top of nn.LSTM, whose forward adds to torch's."""

    def __init__(self):
        super().__init__(4, 4, batch_first=True)

    def forward(self, x):
        y, _ = super().forward(x)
        return x + y
