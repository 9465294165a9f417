"""The tagger: words and their spelling, read in both directions, with one tag a word."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from edgeseq_export.ops import RecurrentLayer
from edgeseq_runtime.errors import UsageError
from edgeseq_runtime.signature import BATCH, TIME, Limit, Signature
from edgeseq_runtime.signature import Tensor as TensorSpec
from torch import Tensor, nn

from edgeseq.data import Dataset
from edgeseq.data.tagged import PADDING, UNKNOWN
from edgeseq.nn.cells import cell_of, zero_states
from edgeseq.nn.family import Batch, Hints
from edgeseq.nn.network import Network, check_choice, check_common, check_positive

LETTERS = "letters"
"""The axis of a word's characters: as long as the longest word."""


@dataclass(frozen=True)
class TaggerConfig:
    """How a tagger is built.

    cell, nonlinearity: the recurrence; the nonlinearity is of the plain RNN alone. hidden_size: units a direction.
    output_size: tags. vocabulary_size, alphabet_size: word and character ids, padding (0) and unknown (1) among them.
    letters: characters of the longest word in training; what an unrolled file's words are padded to.
    embedding_size, character_size: widths of the embeddings of a word and of a character.
    filters: features of a word's spelling for each of kernel_sizes, windows of so many characters (odd numbers).
    dropout: before every layer and the head. word_dropout: the share of words that training takes for unknown, so
        that their spelling and their neighbours are learnt from.
    """

    cell: Literal["rnn", "lstm", "gru"]
    output_size: int
    vocabulary_size: int
    alphabet_size: int
    letters: int
    task: Literal["classify"] = "classify"
    nonlinearity: Literal["tanh", "relu", "sigmoid"] = "tanh"
    hidden_size: int = 64
    num_layers: int = 1
    embedding_size: int = 40
    character_size: int = 24
    filters: int = 32
    kernel_sizes: list[int] = field(default_factory=lambda: [3, 5, 7])
    dropout: float = 0.0
    word_dropout: float = 0.0

    def __post_init__(self) -> None:
        check_common(self)
        check_choice("cell", self.cell, ("rnn", "lstm", "gru"))
        check_choice("nonlinearity", self.nonlinearity, ("tanh", "relu", "sigmoid"))
        check_positive(self, "letters", "hidden_size", "num_layers", "embedding_size", "character_size", "filters")
        for name in ("vocabulary_size", "alphabet_size"):
            if getattr(self, name) <= UNKNOWN:
                raise UsageError(f"{name} is {getattr(self, name)}, but padding, unknown and a symbol make 3")
        if not self.kernel_sizes or any(size < 1 or size % 2 == 0 for size in self.kernel_sizes):
            raise UsageError(f"kernel_sizes is {self.kernel_sizes}, but odd numbers are needed: a window has a middle")
        if not 0 <= self.word_dropout < 1:
            raise UsageError(f"word_dropout is {self.word_dropout}, but it must be at least 0 and less than 1")


class Tagger(Network):
    """Word and character embeddings, bidirectional recurrent layers, and a linear head for every word.

    The features of a word are its own embedding and those of its spelling, found by a convolution over its characters
    and the maximum over the word (dos Santos and Zadrozny 2014; with a recurrence over the words, Ma and Hovy 2016).

    Inputs: `words` int64 (batch, time), `characters` int64 (batch, time, letters), `lengths` int64 (batch,).
    """

    config: TaggerConfig

    def __init__(self, config: TaggerConfig, hints: Hints | None = None) -> None:
        super().__init__(config, hints, "tagger")
        self.words = nn.Embedding(config.vocabulary_size, config.embedding_size, padding_idx=PADDING)
        self.characters = nn.Embedding(config.alphabet_size, config.character_size, padding_idx=PADDING)
        for embedding in (self.words, self.characters):
            _initialise(embedding)
        self.windows = nn.ModuleList(
            nn.Conv2d(config.character_size, config.filters, (1, size), padding=(0, size // 2))
            for size in config.kernel_sizes
        )
        spelling = config.filters * len(config.kernel_sizes)
        width = config.hidden_size * 2
        sizes = [config.embedding_size + spelling] + [width] * (config.num_layers - 1)
        self.layers = nn.ModuleList(
            RecurrentLayer(cell_of(config), size, config.hidden_size, bidirectional=True) for size in sizes
        )
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(width, config.output_size)

    @classmethod
    def sizes(cls, data: Dataset) -> dict[str, Any]:
        """Tags, and the sizes of both vocabularies, which hold what the training part alone has."""
        known = data.vocabulary or {}
        if missing := [name for name in ("words", "characters") if name not in known]:
            raise UsageError(
                f"a tagger reads words and their characters, but the data has no vocabulary of {missing[0]}"
            )
        return {
            **super().sizes(data),
            "vocabulary_size": len(known["words"]),
            "alphabet_size": len(known["characters"]),
            "letters": data.more["characters"].shape[-1],
        }

    def forward(self, words: Tensor, characters: Tensor, lengths: Tensor | None = None) -> dict[str, Tensor]:
        """Outputs by the signature's names, each (batch, time, tags)."""
        features = torch.cat([self.words(self._forgotten(words)), self.spelt(characters)], -1)
        y = features.transpose(0, 1)
        for layer in self.layers:
            y, _ = layer(self.dropout(y), zero_states(self.config, 2, y), lengths)
        return self.answer(self.head(self.dropout(y.transpose(0, 1))))

    def spelt(self, characters: Tensor) -> Tensor:
        """The largest answer of each filter anywhere in a word: (batch, time, letters) -> (batch, time, features).

        Padding is embedded as zeros, as is what lies beyond both ends of the axis, so the answer does not depend on
        how long that axis is.
        """
        letters = self.characters(characters).permute(0, 3, 1, 2)
        inside = (characters != PADDING).to(letters.dtype)[:, None]
        found = [(torch.relu(window(letters)) * inside).amax(-1) for window in self.windows]
        return torch.cat(found, 1).transpose(1, 2)

    def signature(self) -> Signature:
        """What goes in and out: one tag a word."""
        config = self.config
        return Signature(
            inputs=(
                TensorSpec("words", "int64", (BATCH, TIME), range=(0, config.vocabulary_size)),
                TensorSpec("characters", "int64", (BATCH, TIME, LETTERS), range=(0, config.alphabet_size)),
                TensorSpec("lengths", "int64", (BATCH,), of="words"),
            ),
            outputs=self.answers("step"),
            limits={TIME: Limit(1, None), BATCH: Limit(1, None), LETTERS: Limit(1, None)},
            typical={**self.hints.typical, LETTERS: config.letters},
            reason="it reads the sentence in both directions, so it needs the whole",
        )

    def vocabulary(self) -> Mapping[str, Any] | None:
        """The words, and the characters they are written with."""
        symbols = self.hints.vocabulary
        if symbols is None:
            return None
        special = {"unknown": UNKNOWN, "padding": PADDING}
        return {
            "words": {"symbols": list(symbols["words"]), "kind": "word", **special},
            "characters": {"symbols": list(symbols["characters"]), "kind": "character", **special},
        }

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """The batch by the signature's input names, its characters cut after its longest word."""
        given = super().inputs(batch)
        letters = int((given["characters"] != PADDING).sum(-1).max())
        return {**given, "characters": given["characters"][..., : max(letters, 1)]}

    def _forgotten(self, words: Tensor) -> Tensor:
        """In training, a share of the words as unknown ones."""
        if not self.training or not self.config.word_dropout:
            return words
        dropped = torch.rand(words.shape, device=words.device) < self.config.word_dropout
        return torch.where(dropped & (words != PADDING), torch.full_like(words, UNKNOWN), words)


def _initialise(embedding: nn.Embedding) -> None:
    """Uniform within √(3 / width): vectors of squared length 1 on average (as Ma and Hovy 2016)."""
    bound = math.sqrt(3 / embedding.embedding_dim)
    nn.init.uniform_(embedding.weight, -bound, bound)
    with torch.no_grad():
        embedding.weight[PADDING] = 0
