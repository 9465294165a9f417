"""Rows of different lengths: packed, masked, pooled, and compared in pairs."""

import torch
from torch import nn
from torch.nn.utils import rnn as packing
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence


class PackedTagger(nn.Module):
    """Packs and unpacks inside its forward, on the processor, as torch wants lengths there."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 5, padding_idx=0)
        self.rnn = nn.LSTM(5, 6, batch_first=True)
        self.fc = nn.Linear(6, 4)

    def forward(self, tokens, lengths):
        packed = pack_padded_sequence(self.embed(tokens), lengths.cpu(), batch_first=True, enforce_sorted=False)
        out, _ = self.rnn(packed)
        out, _ = pad_packed_sequence(out, batch_first=True)
        return self.fc(out)


class AttentivePooling(nn.Module):
    """A bidirectional encoder; attention over the valid steps pools it to one vector."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(4, 5, bidirectional=True, batch_first=True)
        self.score = nn.Linear(10, 1)
        self.fc = nn.Linear(10, 3)

    def forward(self, x, lengths):
        packed = packing.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        y, lengths = packing.pad_packed_sequence(self.rnn(packed)[0], batch_first=True)
        mask = torch.arange(y.size(1))[None, :] < lengths[:, None]
        scores = self.score(y).squeeze(-1).masked_fill(~mask, float("-inf"))
        weights = torch.softmax(scores, dim=1)
        pooled = (weights.unsqueeze(-1) * y).sum(1)
        return self.fc(pooled)


class BothWays(nn.Module):
    """A two-layer bidirectional GRU; the last states of both directions are its answer."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(4, 5, num_layers=2, bidirectional=True)
        self.head = nn.Linear(10, 3)

    def forward(self, x, x_lengths):
        packed = pack_padded_sequence(x, x_lengths, enforce_sorted=False)  # time first
        _, h = self.gru(packed)
        return self.head(torch.cat([h[-2], h[-1]], dim=1))


class LastValid(nn.Module):
    """Reads the step before each row's end by its number, without packing."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(4, 5, batch_first=True)

    def forward(self, x, lengths):
        y, _ = self.rnn(x)
        index = (lengths - 1).view(-1, 1, 1).expand(-1, 1, y.size(2))
        return y.gather(1, index).squeeze(1)


class Siamese(nn.Module):
    """Two sequences of different lengths through one encoder, and how near they are."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.LSTM(3, 6, batch_first=True)

    def encode(self, x):
        return self.encoder(x)[1][0][-1]

    def forward(self, left, right):
        return torch.cosine_similarity(self.encode(left), self.encode(right), dim=-1)


class PackedSiamese(Siamese):
    """The same with rows of different lengths on both sides."""

    def encode(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return self.encoder(packed)[1][0][-1]

    def forward(self, left, left_lengths, right, right_lengths):
        return torch.cosine_similarity(self.encode(left, left_lengths), self.encode(right, right_lengths), dim=-1)


class NormedRows(nn.Module):
    """Norms the valid steps alone, inside a packed sequence."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(4)
        self.rnn = nn.GRU(4, 4, batch_first=True)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        packed = packed._replace(data=self.norm(packed.data))
        return self.rnn(packed)[1][-1]


class Constructed(NormedRows):
    """The same, with a packed sequence that is put together anew."""

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        data, sizes, order, back = packed
        return self.rnn(PackedSequence(self.norm(data), sizes, order, back))[1][-1]
