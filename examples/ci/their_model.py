"""Your network: any nn.Module."""

import torch
from torch import Tensor, nn


class Classifier(nn.Module):
    """Two layers of LSTM and a class for each step. x: float32 (batch, time, 12), logits: (batch, time, 5)."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(12)
        self.lstm = nn.LSTM(12, 32, num_layers=2, batch_first=True)
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        """A class for each step."""
        hidden, _ = self.lstm(self.norm(x))
        return self.head(torch.relu(hidden))


def trained() -> Classifier:
    """The network with its weights; here they are random, yours come from a file."""
    torch.manual_seed(0)
    return Classifier().eval()
