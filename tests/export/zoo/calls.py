"""What goes into a call and comes out of it: dicts, tuples, states, several sequences, time before the batch."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence


class DictInputs(nn.Module):
    """Takes a batch as a data loader gives it, a dict, and gives a dict."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(4, 5, batch_first=True)
        self.fc = nn.Linear(5, 2)

    def forward(self, batch):
        packed = pack_padded_sequence(batch["x"], batch["lengths"].cpu(), batch_first=True, enforce_sorted=False)
        _, h = self.rnn(packed)
        return {"logits": self.fc(h[-1]), "embedding": h[-1]}


class TupleInputs(nn.Module):
    """Takes a pair: frames, and a scale for each row."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(3, 5, batch_first=True)

    def forward(self, pair):
        frames, scale = pair
        y, _ = self.rnn(frames * scale[:, None, None])
        return y


class ShapeReader(nn.Module):
    """Reads x.shape in Python: folds steps into the batch and back, and knows where in the sequence it is."""

    def __init__(self):
        super().__init__()
        self.frame = nn.Linear(6, 4)
        self.rnn = nn.LSTM(5, 5, batch_first=True, bidirectional=True)

    def forward(self, x):
        n, t, f = x.shape
        z = torch.tanh(self.frame(x.reshape(n * t, f))).view(n, t, -1)
        place = torch.arange(t, dtype=x.dtype) / t
        z = torch.cat([z, place.view(1, t, 1).expand(n, t, 1)], dim=2)
        return self.rnn(z)[0]


class TimeFirst(nn.Module):
    """Time before the batch, and the states are parameters of their own that must be given."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 6, num_layers=2)
        self.proj = nn.Linear(6, 2)

    def forward(self, x, h, c):
        y, (h, c) = self.lstm(x, (h, c))
        return self.proj(y), h, c


class Answer(NamedTuple):
    """As below."""

    logits: Tensor
    hidden: tuple[Tensor, Tensor]


class Named(nn.Module):
    """Gives a named tuple with a pair in it, and takes that pair back."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(4, 5, batch_first=True)
        self.fc = nn.Linear(5, 3)

    def forward(self, x, hidden=None):
        y, hidden = self.rnn(x, hidden)
        return Answer(self.fc(y), hidden)


class Translator(nn.Module):
    """An encoder's last states start a decoder, which reads the answer that is known (teacher forcing)."""

    def __init__(self):
        super().__init__()
        self.source, self.target = nn.Embedding(15, 5), nn.Embedding(12, 5)
        self.encoder = nn.LSTM(5, 6, num_layers=2, batch_first=True)
        self.decoder = nn.LSTM(5, 6, num_layers=2, batch_first=True)
        self.generator = nn.Linear(6, 12)

    def forward(self, source, target):
        _, state = self.encoder(self.source(source))
        y, _ = self.decoder(self.target(target), state)
        return torch.log_softmax(self.generator(y), dim=-1)


class TwoTokens(nn.Module):
    """A GRU over the embeddings of two kinds of tokens, side by side."""

    def __init__(self):
        super().__init__()
        self.words, self.tags = nn.Embedding(30, 4), nn.Embedding(7, 3)
        self.gru = nn.GRU(7, 5, batch_first=True)
        self.out = nn.Linear(5, 3)

    def forward(self, words, tags):
        y, _ = self.gru(torch.cat([self.words(words), self.tags(tags)], dim=-1))
        return self.out(y)


class Squeezed(nn.Module):
    """Squeezes all axes of one: a batch of one loses its batch axis."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(3, 4, batch_first=True)
        self.fc = nn.Linear(4, 1)

    def forward(self, x):
        return self.fc(self.rnn(x)[0]).squeeze()


class Routed(nn.Module):
    """Asks in Python what a sum is, and so takes another way for other numbers."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(3, 4, batch_first=True)

    def forward(self, x):
        y, _ = self.rnn(x)
        return y if y.sum() > 0 else -y


class Truncated(nn.Module):
    """Reads the last 100 steps of what is longer."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(4, 6, batch_first=True)

    def forward(self, x):
        if x.shape[1] > 100:
            x = x[:, -100:]
        return self.rnn(x)[0].mean(1)


class AroundScript(nn.Module):
    """Scripts its core, and decides in Python around it."""

    def __init__(self):
        super().__init__()
        self.core = torch.jit.script(nn.Linear(4, 6))

    def forward(self, x):
        y = self.core(x)
        if x.abs().max() > 20:
            y = y / x.abs().max()
        return y
