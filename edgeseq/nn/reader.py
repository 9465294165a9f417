"""What the families share that read one entry a step, or a node: features, or token ids that are embedded."""

from typing import Any, cast

from edgeseq_runtime.errors import UsageError
from edgeseq_runtime.signature import BATCH, TIME
from edgeseq_runtime.signature import Tensor as TensorSpec
from torch import Tensor, nn

from edgeseq.data import Dataset
from edgeseq.nn.family import Hints
from edgeseq.nn.network import Network


class Reader(Network):
    """Base of the families that read `x` float32 (batch, time, input_size), or `tokens` int64 (batch, time).

    Args:
        config: plain values; beside those of Network it has `input_size`, `vocabulary_size` (None: no tokens) and
            `embedding_size`.
    """

    def __init__(self, config: Any, hints: Hints | None, family: str) -> None:
        super().__init__(config, hints, family, (config.input_size,))
        symbols = (self.hints.vocabulary or {}).get("tokens")
        if symbols is not None and len(symbols) != config.vocabulary_size:
            raise UsageError(
                f"the vocabulary has {len(symbols)} symbols, but vocabulary_size is {config.vocabulary_size}"
            )
        self.embedding = nn.Embedding(config.vocabulary_size, config.embedding_size) if config.vocabulary_size else None
        self.width: int = config.embedding_size if self.embedding else config.input_size

    @classmethod
    def sizes(cls, data: Dataset) -> dict[str, Any]:
        """Classes or values, features, and the tokens there are: by the vocabulary, else in all parts, else in x.

        Raises:
            UsageError: x is neither features nor tokens step by step.
        """
        if data.x.ndim != (2 if data.tokens else 3):
            raise UsageError(
                f"this family reads features (n, time, features) or token ids (n, time), but x has shape {data.x.shape}"
            )
        sizes = {**super().sizes(data), "input_size": 1 if data.tokens else data.x.shape[2]}
        return {**sizes, "vocabulary_size": _token_count(data)} if data.tokens else sizes

    def embed(self, x: Tensor | None, tokens: Tensor | None) -> Tensor:
        """What the first layer reads, (batch, time, width): standardised x, or tokens embedded."""
        if self.embedding is not None:
            if tokens is None:
                raise UsageError("this network takes 'tokens', int64 (batch, time)")
            return cast(Tensor, self.embedding(tokens))
        if x is None:
            raise UsageError(f"this network takes 'x', float32 (batch, time, {self.config.input_size})")
        return self.standardised(x)

    def main_input(self) -> TensorSpec:
        """The first input of a signature: `tokens` or `x`."""
        if self.config.vocabulary_size:
            return TensorSpec("tokens", "int64", (BATCH, TIME), range=(0, self.config.vocabulary_size))
        return TensorSpec("x", "float32", (BATCH, TIME, self.config.input_size), draw=self.drawn("x"))


def _token_count(data: Dataset) -> int:
    symbols = (data.vocabulary or {}).get("tokens")
    if symbols is not None:
        return len(symbols)
    return int(data.x.max()) + 1 if data.token_count is None else data.token_count
