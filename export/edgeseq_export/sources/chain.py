"""A plain network of layers one behind the other, as a state dict tells it."""

from collections.abc import Mapping, Sequence

from torch import Tensor, cat, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"none": nn.Identity, "relu": nn.ReLU, "tanh": nn.Tanh}

READS = {
    "steps": "every step",
    "last": "the last step",
    "final": "the final states of both directions",
}
"""What the layers behind the last recurrent one read of it."""


class Chain(nn.Module):
    """Layers one behind the other. x: float32 (batch, time, features) -> (batch, time, outputs) or (batch, outputs).

    Args:
        layers: by name; recurrent ones with `batch_first`. activations: what stands behind each, a key of ACTIVATIONS.
        read: what the layers behind the last recurrent one get of it, a key of READS.
    """

    def __init__(self, layers: Mapping[str, nn.Module], activations: Sequence[str], read: str) -> None:
        super().__init__()
        self.activations = nn.ModuleList(ACTIVATIONS[each]() for each in activations)
        self._recurrent = [isinstance(layer, nn.RNNBase) for layer in layers.values()]
        self._by_channel = [isinstance(layer, nn.BatchNorm1d) for layer in layers.values()]
        self._last = max(place for place, recurrent in enumerate(self._recurrent) if recurrent)
        self._read = read
        self._names: list[str] = []
        for name, layer in layers.items():
            self._names.append(self._added(name, layer))

    def forward(self, x: Tensor) -> Tensor:
        """Run the layers in turn."""
        for place, (name, activation) in enumerate(zip(self._names, self.activations, strict=True)):
            layer = getattr(self, name)
            if self._recurrent[place]:
                steps, state = layer(x)
                x = self._taken(steps, state) if place == self._last else steps
            elif self._by_channel[place] and x.dim() == 3:
                x = layer(x.transpose(1, 2)).transpose(1, 2)
            else:
                x = activation(layer(x))
        return x

    @property
    def first_layer(self) -> nn.Module:
        """The layer that reads the input."""
        layer: nn.Module = getattr(self, self._names[0])
        return layer

    def _added(self, name: str, layer: nn.Module) -> str:
        """Keep a layer under its name in the file, as far as that can be an attribute's."""
        name = name.replace(".", "_")
        name = f"layer{name}" if name[0].isdigit() else name
        while hasattr(type(self), name) or hasattr(self, name):
            name += "_"
        self.add_module(name, layer)
        return name

    def _taken(self, steps: Tensor, state: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        """What is read of a recurrent layer. steps: (batch, time, outputs)."""
        if self._read == "last":
            return steps[:, -1]
        if self._read == "final":
            hidden = state[0] if isinstance(state, tuple) else state
            return cat((hidden[-2], hidden[-1]), -1)
        return steps


class TokenChain(Chain):
    """The same behind an embedding. tokens: int64 (batch, time)."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Run the layers in turn."""
        return super().forward(tokens)
