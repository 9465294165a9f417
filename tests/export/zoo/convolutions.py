"""Convolutions: before a recurrence, and in place of one."""

import torch
from torch import nn
from torch.nn import functional


class StridedCRNN(nn.Module):
    """Convolutions with strides, then a GRU over what is left of time; classes for every frame."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv1d(3, 6, 5, stride=2, padding=2), nn.BatchNorm1d(6), nn.ReLU(), nn.Conv1d(6, 6, 3, stride=2)
        )
        self.rnn = nn.GRU(6, 5, batch_first=True)
        self.fc = nn.Linear(5, 4)

    def forward(self, x):
        frames = self.conv(x).permute(0, 2, 1)
        frames, _ = self.rnn(frames)
        return self.fc(frames)


class Pooled(nn.Module):
    """A spectrogram without a channel axis through a 2-D convolution and an LSTM, then the mean over time."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, padding=1)
        self.rnn = nn.LSTM(3 * 4, 5, batch_first=True, bidirectional=True)

    def forward(self, x):
        z = functional.max_pool2d(torch.relu(self.conv(x.unsqueeze(1))), (1, 2))  # (batch, 3, time, 4)
        z = z.permute(0, 2, 1, 3).flatten(2)
        return self.rnn(z)[0].mean(dim=1)


class BufferedTCN(nn.Module):
    """A causal depthwise TCN, which takes and gives back a list of the last inputs of each layer."""

    def __init__(self, channels=4, kernel=3, dilations=(1, 2)):
        super().__init__()
        self.pads = [(kernel - 1) * d for d in dilations]
        self.depthwise = nn.ModuleList(nn.Conv1d(channels, channels, kernel, dilation=d, groups=channels) for d in dilations)
        self.pointwise = nn.ModuleList(nn.Conv1d(channels, channels, 1) for _ in dilations)

    def forward(self, x, buffers=None):
        z = x.transpose(1, 2)
        if buffers is None:
            buffers = [z.new_zeros(z.size(0), z.size(1), pad) for pad in self.pads]
        kept = []
        for depthwise, pointwise, buffer, pad in zip(self.depthwise, self.pointwise, buffers, self.pads, strict=True):
            padded = torch.cat([buffer, z], dim=2)
            kept.append(padded[:, :, -pad:])
            z = z + torch.relu(pointwise(depthwise(padded)))
        return z.transpose(1, 2), kept
