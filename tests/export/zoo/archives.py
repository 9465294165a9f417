"""Networks that are given as a file with their code in it."""

import torch
from torch import Tensor, nn


class Branching(nn.Module):
    """Meant for torch.jit.script: what it does depends on how long the input is, and on its layers one by one."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.GRU(4, 5, batch_first=True), nn.GRU(5, 5, batch_first=True)])

    def forward(self, x: Tensor) -> Tensor:
        if x.size(1) > 4:
            x = x - x.mean(1, keepdim=True)
        else:
            x = torch.tanh(x)
        for layer in self.layers:
            x = layer(x)[0]
        return x
