"""The card's examples: which rows, what was read, what was written and what would be right."""

import re

import numpy as np
import pytest
import torch

from edgeseq.data import Dataset, Parts
from edgeseq.data.dataset import ABSENT, About
from edgeseq.nn.seq2seq_config import END, PADDING, SPECIAL
from edgeseq.recipe import DataTable, ModelTable, Recipe
from edgeseq.training.card import card
from edgeseq.training.examples import SHOWN, Example, examples

LETTERS, PHONES = ("a", "b", "c"), ("AH", "B", "K")
READS = {"symbols": list(LETTERS), "kind": "character"}
WRITES = {"symbols": [*SPECIAL, *PHONES], "kind": "word", "padding": PADDING, "end": END}
TEXT = {"tokens": READS, "generated": WRITES}


class Speller:
    """Says the sound of each letter it reads; its further hypotheses are silent."""

    def __init__(self, vocabulary=TEXT, hypotheses=None):
        self._vocabulary, self._hypotheses = vocabulary, hypotheses

    def vocabulary(self):
        return self._vocabulary

    def inputs(self, batch):
        return {"tokens": batch["x"], "lengths": batch["lengths"]}

    def __call__(self, tokens, lengths):
        place = torch.arange(tokens.shape[1] + 1)
        said = torch.nn.functional.pad(tokens, (0, 1)) + len(SPECIAL)
        said = torch.where(place < lengths[:, None], said, torch.where(place == lengths[:, None], END, PADDING))
        if self._hypotheses is not None:
            silent = torch.full((len(said), self._hypotheses - 1, said.shape[1]), END)
            said = torch.cat([said[:, None], silent], 1)
        return {"generated": said}


def words(*texts, answers=None, labels=PHONES):
    """Words of a, b and c. answers: of each what is right, as classes, the first of them y; the word itself is not."""
    answers = [[[2]]] * len(texts) if answers is None else answers
    lengths = np.array([len(text) for text in texts])
    x = np.array([[LETTERS.index(letter) for letter in text.ljust(4, "a")] for text in texts])
    longest = max(len(answer) for row in answers for answer in row)
    accepted = np.full((len(texts), max(map(len, answers)), longest), ABSENT)
    for row, right in enumerate(answers):
        for place, answer in enumerate(right):
            accepted[row, place, : len(answer)] = answer
    y, y_lengths = np.maximum(accepted[:, 0], 0), (accepted[:, 0] >= 0).sum(1)
    more = {"accepted": accepted} if accepted.shape[1] > 1 else {}
    return Dataset(x, y, lengths, labels, y_lengths=y_lengths, vocabulary={"tokens": LETTERS}, **more)


@pytest.mark.parametrize("hypotheses", [None, 1, 3])
def test_an_example_is_what_was_read_and_said_and_would_be_right(hypotheses):
    data = words("ab", "cabc", "b", answers=[[[0, 1]], [[2, 0, 1]], [[1, 1, 1, 1]]])
    assert examples(Speller(hypotheses=hypotheses), data) == [
        Example("ab", "AH B", ("AH B",)),
        Example("cabc", "K AH B K", ("K AH B",)),
        Example("b", "B", ("B B B B",)),
    ]


def test_every_answer_that_counts_as_right_is_shown():
    data = words("ab", "c", answers=[[[0, 1], [1]], [[2]]])
    assert [each.right for each in examples(Speller(), data)] == [("AH B", "B"), ("K",)]


@pytest.mark.parametrize("count", [1, 2, SHOWN - 1, SHOWN, SHOWN + 1, 7 * SHOWN])
def test_as_many_as_there_are_and_evenly_spread(count):
    """The number of a row is its text: to the base of three, four letters."""
    texts = ["".join(LETTERS[row // 3**digit % 3] for digit in (3, 2, 1, 0)) for row in range(count)]
    data = words(*texts)
    shown = [each.given for each in examples(Speller(), data)]
    assert len(shown) == min(count, SHOWN)
    assert (shown[0], shown[-1]) == (texts[0], texts[-1])
    if count <= 3**4:
        assert shown == sorted(set(shown))
    if count <= SHOWN:
        assert shown == texts


@pytest.mark.parametrize("vocabulary", [None, {}, {"tokens": READS}, {"generated": WRITES}])
def test_a_network_that_does_not_turn_text_into_text_has_none(vocabulary):
    assert examples(Speller(vocabulary), words("ab")) == []


def test_right_and_written_are_spelt_alike():
    characters = {**WRITES, "symbols": [*SPECIAL, "A", "B", "C"], "kind": "character"}
    data = words("ab", answers=[[[0, 1]]], labels=("A", "B", "C"))
    (example,) = examples(Speller({"tokens": READS, "generated": characters}), data)
    assert example.right == (example.written,)


def carded(*shown):
    """The lines of the card's table of examples, below its rule."""
    data = words("ab", "c", "b")
    parts, figures = Parts(data, data, data, About("words", "")), {"loss": 0.5}
    metrics = {"parameters": 3, "search": {"ran": 2, "best": 1}, "validation": figures, "test": figures}
    recipe = Recipe(ModelTable("seq2seq"), DataTable("words"))
    text = card("words", recipe, parts, metrics, None, shown)
    if "## Examples of the test part" not in text:
        return []
    section = text.split("## Examples of the test part\n\n")[1].split("\n\n## ")[0]
    return section.split("\n")[2:]


def test_the_card_has_a_line_for_each():
    shown = Example("ab", "AH B", ("AH B", "B")), Example("c", "", ("K",))
    assert carded(*shown) == ["| ab | AH B | AH B / B |", "| c |  | K |"]
    assert carded() == []


@pytest.mark.parametrize("text", ["a|b", "|", "a\nb", "a\r\nb"])
def test_text_that_would_break_the_table_does_not(text):
    (line,) = carded(Example(text, text, (text, text)))
    assert len(re.findall(r"(?<!\\)\|", line)) == 4
