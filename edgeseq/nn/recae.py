"""The recae family: a recurrent encoder reads a sequence into the code, a recurrent decoder tells it from that.

Srivastava, Mansimov and Salakhutdinov, "Unsupervised Learning of Video Representations using LSTMs", 2015, who tell it
in reverse; for anomalies Malhotra et al., "LSTM-based Encoder-Decoder for Multi-sensor Anomaly Detection", 2016.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import torch
from edgeseq_export.ops import RecurrentLayer
from edgeseq_runtime.errors import UsageError
from torch import Tensor, nn

from edgeseq.data import Dataset
from edgeseq.nn.autoencoder import Autoencoder
from edgeseq.nn.autoencoder_config import CodeConfig
from edgeseq.nn.cells import zero_states
from edgeseq.nn.family import Hints
from edgeseq.nn.network import check_choice, check_positive, check_sequences


@dataclass(frozen=True, kw_only=True)
class RecAeConfig(CodeConfig):
    """How a recurrent autoencoder is built, beside what CodeConfig says.

    cell, hidden_size, num_layers: of encoder and decoder. order: whether the decoder tells a sequence from its first
        step on, or from its last.
    """

    cell: Literal["lstm", "gru"] = "lstm"
    hidden_size: int = 64
    num_layers: int = 1
    order: Literal["forwards", "reversed"] = "reversed"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("cell", self.cell, ("lstm", "gru"))
        check_choice("order", self.order, ("forwards", "reversed"))
        check_positive(self, "hidden_size", "num_layers")
        if len(self.shape) != 2:
            raise UsageError(f"an example has the shape {self.shape}, but sequences (time, features) are expected")


class RecAe(Autoencoder):
    """The encoder's last state becomes the code; the decoder reads the code at every step.

    Without a window examples are sequences of any length, and `lengths` int64 (batch,) is an input too.
    """

    config: RecAeConfig
    timeless: ClassVar[bool | None] = False

    def __init__(self, config: RecAeConfig, hints: Hints | None = None) -> None:
        super().__init__(config, hints, "recae", config.hidden_size)
        features, width, deeper = config.shape[-1], config.hidden_size, [config.hidden_size] * (config.num_layers - 1)
        self.encoder = nn.ModuleList(RecurrentLayer(config.cell, size, width) for size in [features, *deeper])
        self.decoder = nn.ModuleList(RecurrentLayer(config.cell, size, width) for size in [config.code_size, *deeper])
        self.to_values = nn.Linear(width, features)

    @property
    def ragged(self) -> bool:
        """Whether examples are sequences of unequal length."""
        return self.config.window is None

    @property
    def fixes_axes(self) -> bool:  # type: ignore[override]  # a class attribute elsewhere: here it depends on the config
        """Whether copies of a step fix the time axis: not where they are as many as a window's steps."""
        return self.ragged

    @classmethod
    def sizes(cls, data: Dataset) -> dict[str, Any]:
        """As Autoencoder.sizes. Raises UsageError for what is no sequences."""
        check_sequences(data, "recae")
        return super().sizes(data)

    def features(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """x: (batch, time, features)."""
        y = x.transpose(0, 1)
        for layer in self.encoder:
            y, last = layer(y, zero_states(self.config, 1, y), lengths)
        return cast(Tensor, last[0].squeeze(0))

    def rebuild(self, code: Tensor, steps: int, lengths: Tensor | None = None) -> Tensor:
        """code: (batch, code_size)."""
        y = code[None].expand(steps, -1, -1)
        for layer in self.decoder:
            y, _ = layer(y, zero_states(self.config, 1, y), lengths)
        values: Tensor = self.to_values(y).transpose(0, 1)
        if self.config.order == "forwards":
            return values
        if lengths is None:
            return values.flip(1)
        from_end = lengths[:, None] - 1 - torch.arange(steps, device=code.device)
        places = from_end.clamp(min=0)[:, :, None].expand(-1, -1, values.shape[2])
        return values.gather(1, places)
