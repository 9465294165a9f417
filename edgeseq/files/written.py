"""What a model that reads text answers: what it wrote, and labels beside the words of a text."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from edgeseq_runtime.signature import Tensor
from numpy.typing import NDArray

from edgeseq.files.answers import Answers, plain, shortest
from edgeseq.files.outputs import ERROR, Results
from edgeseq.files.rows import Item, Sequences
from edgeseq.files.texts import known, reading
from edgeseq.text import KINDS, Vocabulary

if TYPE_CHECKING:
    from edgeseq_runtime import Model

Array = NDArray[Any]

SCORES = "scores"
"""The output that says how sure a model is of what it wrote: log probabilities."""


@dataclass(frozen=True)
class Labelled(Results):
    """Results of a model that labels the words of a text. words: those of each item."""

    words: Sequence[Sequence[str]] = ()

    @property
    def leading_columns(self) -> tuple[str, ...]:
        """The step, and its word."""
        return (*super().leading_columns, "word")

    def cells(self, number: int, places: range) -> Iterator[tuple[str, ...]]:
        """One row for each word."""
        for word, (step, *cells) in zip(self.words[number], super().cells(number, places), strict=True):
            yield (step, word, *cells)

    def leading_fields(self, number: int) -> dict[str, Any]:
        """The words."""
        return {"word": list(self.words[number])}


@dataclass(frozen=True)
class Written(Results):
    """Results of a model that writes text.

    prompts: the text of each item; None where it reads no text. hypotheses: what it wrote for each row, the best first.
    scores: of the hypotheses, float (rows, hypotheses), where the model has them.
    between: what stands between the answers to the words of one text. goes_on: whether its answer continues the text.
    """

    prompts: Sequence[str] | None = None
    hypotheses: Sequence[Sequence[str]] = ()
    scores: Array | None = None
    between: str = ""
    goes_on: bool = False

    @property
    def leading_columns(self) -> tuple[str, ...]:
        """The text that was given."""
        return ("text",) if self.prompts is not None else ()

    @property
    def answer_columns(self) -> tuple[str, ...]:
        """What was written, and its score."""
        return (self.answers.output,) if self.scores is None else (self.answers.output, "score")

    def cells(self, number: int, places: range) -> Iterator[tuple[str, ...]]:
        """One row for each text."""
        scores = [] if self.scores is None else [" ".join(shortest(self.scores[place, 0]) for place in places)]
        yield (*self.leading_fields(number).values(), self._best(places), *scores)

    def leading_fields(self, number: int) -> dict[str, str]:
        """The text that was given."""
        return {"text": self.prompts[number]} if self.prompts is not None else {}

    def fields(self, place: int) -> dict[str, Any]:
        """What was written with its score; where several were, all of them too."""
        hypotheses: list[dict[str, Any]] = [{self.answers.output: text} for text in self.hypotheses[place]]
        if self.scores is not None:
            for hypothesis, score in zip(hypotheses, self.scores[place], strict=True):
                hypothesis["score"] = plain(score)
        several = self.outputs[self.answers.output].ndim > 2
        return {**hypotheses[0], "hypotheses": hypotheses} if several else hypotheses[0]

    def lines(self) -> Iterator[str]:
        """What was written, a line a text; one that goes on stands behind its text, and several have a line between."""
        for number, item, places in self.placed():
            if self.goes_on and self.count > 1:
                yield f"== {self.name(number)} =="
            if item.error is not None:
                yield ERROR
            else:
                before = self.prompts[number] if self.goes_on and self.prompts is not None else ""
                yield before + self._best(places)

    def _best(self, places: range) -> str:
        return self.between.join(self.hypotheses[place][0] for place in places)


def results_of(model: "Model", sequences: Sequences, outputs: Mapping[str, Array]) -> Results:
    """The outputs of a run as a user reads them: as text where the model writes text, beside the words that it read.

    Where a text is not known, what its ids stand for takes its place.
    """
    arrays, found = sequences.arrays, reading(model)
    lengths = next((arrays[t.name] for t in model.signature.inputs if t.of and t.name in arrays), None)
    answers, seen, asked = Answers(model), arrays.get("seen", 0), arrays.get("steps")
    results = Results(outputs, answers, lengths, sequences.ids, sequences.items, seen, asked)
    vocabulary = found[1] if found is not None else None
    given = _ids(model, found[0], arrays) if found is not None else []
    writing = _writing(model, vocabulary)
    if writing is not None:
        return _written(model, results, writing, vocabulary, given)
    of_words = vocabulary is not None and vocabulary.kind == "word" and not vocabulary.split
    labels_words = of_words and results.answers.stepwise and not results.answers.own_steps
    if vocabulary is not None and labels_words and results.items is not None:
        words = [_words(item, [given[place] for place in places], vocabulary) for _, item, places in results.placed()]
        return Labelled(outputs, results.answers, lengths, results.ids, results.items, words=words)
    return results


def _written(
    model: "Model", results: Results, writing: Vocabulary, vocabulary: Vocabulary | None, given: Sequence[Array]
) -> Written:
    ids, scores = results.outputs[results.answers.output], results.outputs.get(SCORES)
    if vocabulary is not None and results.items is None:
        results = replace(results, items=[Item(split=vocabulary.split)] * len(ids))
    prompts = None
    if vocabulary is not None:
        prompts = [_text(item, [given[place] for place in places], vocabulary) for _, item, places in results.placed()]
    return Written(
        results.outputs,
        results.answers,
        results.lengths,
        results.ids,
        results.items,
        prompts=prompts,
        hypotheses=[list(map(writing.decode, several)) for several in (ids if ids.ndim > 2 else ids[:, None])],
        scores=scores if scores is None or scores.ndim > 1 else scores[:, None],
        between=KINDS[writing.kind] + " ",  # one space more than stands between two symbols
        goes_on=model.contract is None or model.contract.task != "transcribe",
    )


def _writing(model: "Model", vocabulary: Vocabulary | None) -> Vocabulary | None:
    """What the ids stand for that a model writes: symbols of its own, or those it reads; None where it writes none."""
    main = model.signature.outputs[0]
    if main.kind != "sequence" or not np.issubdtype(np.dtype(main.dtype), np.integer):
        return None
    return known(model).get(main.name, vocabulary)


def _ids(model: "Model", tensor: Tensor, arrays: Mapping[str, Array]) -> list[Array]:
    """The ids of each row that was read, up to its end."""
    rows = list(arrays.get(tensor.name, ()))
    lengths = next((arrays[t.name] for t in model.signature.inputs if t.of == tensor.name and t.name in arrays), None)
    return rows if lengths is None else [row[:end] for row, end in zip(rows, lengths, strict=True)]


def _text(item: Item, given: Sequence[Array], vocabulary: Vocabulary) -> str:
    return item.text if item.text is not None else "".join(map(vocabulary.decode, given))


def _words(item: Item, given: Sequence[Array], vocabulary: Vocabulary) -> list[str]:
    return item.text.split() if item.text is not None else [vocabulary.symbols[i] for row in given for i in row]
