"""Self-attention: sequences, though nothing recurs."""

import torch
from torch import nn


class CausalAttention(nn.Module):
    """A small language model: a transformer's layer with a causal mask, and learned positions for 100 tokens."""

    def __init__(self):
        super().__init__()
        self.tokens, self.places = nn.Embedding(9, 8), nn.Embedding(100, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(8, 9)

    def forward(self, tokens):
        time = tokens.shape[1]
        x = self.tokens(tokens) + self.places(torch.arange(time))
        mask = torch.triu(torch.ones(time, time, dtype=torch.bool), diagonal=1)
        return self.head(self.encoder(x, mask=mask, is_causal=True))
