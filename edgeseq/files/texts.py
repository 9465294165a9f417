"""Text for a model that reads token ids, and the text it writes: how both become arrays and lines."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from edgeseq_runtime.errors import UsageError
from edgeseq_runtime.signature import BATCH, TIME, Limit, Tensor
from edgeseq_runtime.text import Vocabulary, vocabularies
from numpy.typing import NDArray

from edgeseq.files.answers import Answers
from edgeseq.files.outputs import Results

if TYPE_CHECKING:
    from edgeseq_runtime import Model

Array = NDArray[Any]


def encode_texts(model: "Model", texts: Sequence[str]) -> dict[str, Array]:
    """The ids of texts, one a row, by the name of the input that reads them, and their lengths.

    Raises:
        UsageError: no input of the model reads text. InputError: a text with something it does not know.
    """
    tensor, vocabulary = _reading(model) or (None, None)
    if tensor is None or vocabulary is None:
        raise UsageError(f"{model.name} has no vocabulary, so it reads no text; give it numbers by --input")
    ids, lengths = vocabulary.encode_all(texts)
    arrays = {tensor.name: ids, **{t.name: lengths for t in model.signature.inputs if t.of == tensor.name}}
    for other, spelling in _spelt(model):
        axis = other.axes[-1]
        least = axis if isinstance(axis, int) else model.signature.limits.get(axis, Limit()).min
        arrays[other.name] = spelling.spell(texts, least)
    return arrays


@dataclass(frozen=True)
class Labelled(Results):
    """Results of a model that labels the words of a text. words: those of each text."""

    words: Sequence[Sequence[str]] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The header of `rows`."""
        sequence, step, *cells = super().columns
        return (sequence, step, "word", *cells)

    def rows(self) -> Iterator[tuple[str, ...]]:
        """One row for each word."""
        words = (word for text in self.words for word in text)
        for word, (sequence, step, *cells) in zip(words, super().rows(), strict=True):
            yield (sequence, step, word, *cells)

    def records(self) -> Iterator[dict[str, Any]]:
        """One object for each text, with its words."""
        for words, record in zip(self.words, super().records(), strict=True):
            yield {"sequence": record.pop("sequence"), "word": list(words), **record}


@dataclass(frozen=True)
class Written(Results):
    """Results of a model that writes text: `prompts` and what it wrote to go on with each of them."""

    prompts: Sequence[str] = ()
    texts: Sequence[str] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The header of `rows`."""
        return ("sequence", "text", self.answers.output)

    def rows(self) -> Iterator[tuple[str, ...]]:
        """One row for each text."""
        for index, (prompt, text) in enumerate(zip(self.prompts, self.texts, strict=True)):
            yield str(self.name(index)), prompt, text

    def records(self) -> Iterator[dict[str, Any]]:
        """One object for each text."""
        for index, (prompt, text) in enumerate(zip(self.prompts, self.texts, strict=True)):
            yield {"sequence": self.name(index), "text": prompt, self.answers.output: text}


def written(
    model: "Model", arrays: Mapping[str, Array], results: Results, prompts: Sequence[str] | None = None
) -> Written | None:
    """The results as text, where the model writes text; None where it does not.

    prompts: the texts it was given; where they are not known, what their ids stand for.
    """
    main, reading = model.signature.outputs[0], _reading(model)
    known = vocabularies(model.contract.vocabulary) if model.contract is not None else {}
    if reading is None or main.kind != "sequence" or not np.issubdtype(np.dtype(main.dtype), np.integer):
        return None
    tensor, vocabulary = reading
    lengths = next((arrays[t.name] for t in model.signature.inputs if t.of == tensor.name and t.name in arrays), None)
    ends = lengths if lengths is not None else [None] * len(arrays[tensor.name])
    shown = prompts or [vocabulary.decode(row[:end]) for row, end in zip(arrays[tensor.name], ends, strict=True)]
    texts = [known.get(main.name, vocabulary).decode(row) for row in results.outputs[main.name]]
    return Written(results.outputs, Answers(model), results.lengths, results.ids, shown, texts)


def labelled(model: "Model", results: Results, texts: Sequence[str] | None) -> Labelled | None:
    """The results beside the words of the texts they are of; None where there are no texts, or no answer a word."""
    reading = _reading(model)
    if not texts or reading is None or reading[1].kind != "word" or not results.answers.stepwise:
        return None
    words = [text.split() for text in texts]
    return Labelled(results.outputs, results.answers, results.lengths, results.ids, words)


def _reading(model: "Model") -> tuple[Tensor, Vocabulary] | None:
    """The input that reads text, with its vocabulary."""
    found = [(t, vocabulary) for t, vocabulary in _known(model) if t.axes == (BATCH, TIME)]
    return found[0] if found else None


def _spelt(model: "Model") -> list[tuple[Tensor, Vocabulary]]:
    """The inputs that read the characters of each word."""
    return [(t, vocabulary) for t, vocabulary in _known(model) if t.axes[:2] == (BATCH, TIME) and len(t.axes) == 3]


def _known(model: "Model") -> list[tuple[Tensor, Vocabulary]]:
    """The inputs that have a vocabulary."""
    known = vocabularies(model.contract.vocabulary) if model.contract is not None else {}
    return [(t, known[t.name]) for t in model.signature.inputs if t.name in known]
