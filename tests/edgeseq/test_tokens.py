import numpy as np
import pytest
from edgeseq_runtime.errors import ContractError, InputError
from hypothesis import given
from hypothesis import strategies as st

from edgeseq.text import Vocabulary, vocabularies

LETTERS = Vocabulary(("", "\N{REPLACEMENT CHARACTER}", "\n", " ", "a", "b", "ß"), unknown=1, start=0)
STRICT = Vocabulary(("a", "b", " "))
SMALL = Vocabulary(("a", "b", "ß"), split=True, lower=True)
PHONES = Vocabulary(("<pad>", "<s>", "</s>", "AH", "K", "T"), "word", start=1, end=2, padding=0)


@pytest.mark.parametrize(
    ("vocabulary", "text", "ids", "back"),
    [
        (LETTERS, "ab\na", [0, 4, 5, 2, 4], "ab\na"),
        (LETTERS, "aß√", [0, 4, 6, 1], "aß\N{REPLACEMENT CHARACTER}"),
        (LETTERS, "", [0], ""),
        (STRICT, "ab ba", [0, 1, 2, 1, 0], "ab ba"),
        (SMALL, "ABß", [0, 1, 2], "abß"),
        (PHONES, "K AH  T\n", [1, 4, 3, 5, 2], "K AH T"),
        (PHONES, "", [1, 2], ""),
    ],
)
def test_a_text_becomes_ids_and_comes_back(vocabulary: Vocabulary, text: str, ids: list[int], back: str) -> None:
    encoded = vocabulary.encode(text)
    assert encoded.dtype == np.int64
    assert encoded.tolist() == ids
    assert vocabulary.decode(encoded) == back


@given(st.text(alphabet="ab \nß", max_size=30))
def test_known_characters_come_back_as_they_were(text: str) -> None:
    assert LETTERS.decode(LETTERS.encode(text)) == text


def test_several_texts_are_filled_up() -> None:
    ids, lengths = PHONES.encode_all(["K AH T", "T"])
    assert ids.tolist() == [[1, 4, 3, 5, 2], [1, 5, 2, 0, 0]]
    assert lengths.tolist() == [5, 3]
    assert [PHONES.decode(row) for row in ids] == ["K AH T", "T"]


@pytest.mark.parametrize(
    ("vocabulary", "text", "pieces"),
    [
        (SMALL, " Ab\tba \n", ["Ab", "ba"]),
        (SMALL, "a", ["a"]),
        (STRICT, " ab ba", [" ab ba"]),
        (STRICT, "", [""]),
    ],
)
def test_a_text_is_cut_at_its_white_space_where_words_are_sequences(
    vocabulary: Vocabulary, text: str, pieces: list[str]
) -> None:
    assert vocabulary.pieces(text) == pieces


@pytest.mark.parametrize("text", ["", " \t\n"])
def test_a_text_without_words_is_not_cut(text: str) -> None:
    with pytest.raises(InputError, match="the text is empty, but the model reads at least one word"):
        SMALL.pieces(text)


def test_words_are_spelt_and_filled_up() -> None:
    letters = Vocabulary(("", "?", "a", "b"), unknown=1, padding=0)
    assert letters.spell(["ab  c", "b"]).tolist() == [[[2, 3], [1, 0]], [[3, 0], [0, 0]]]
    assert letters.spell(["a"], letters=3).tolist() == [[[2, 0, 0]]]
    assert letters.spell([""]).shape == (1, 0, 1)


@pytest.mark.parametrize(
    ("vocabulary", "texts", "message"),
    [
        (STRICT, ["ab c"], "character 4 of the text, 'c', is none of the 3 that the model knows"),
        (STRICT, ["A"], "character 1 of the text, 'A'"),
        (SMALL, ["aB3"], "character 3 of the text, '3', is none of the 3"),
        (SMALL, ["a b"], "character 2 of the text, ' '"),
        (STRICT, ["ab", "c"], "text 2: character 1 of the text, 'c'"),
        (PHONES, ["K Q T"], "word 2 of the text, 'Q', is none of the 6"),
        (STRICT, [""], "the text is empty, but the model reads at least one character"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_place(vocabulary: Vocabulary, texts: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        vocabulary.encode_all(texts)


@pytest.mark.parametrize("ids", [[0, 3], [-1], [1.5]])
def test_an_id_without_a_symbol_is_refused(ids: list[float]) -> None:
    with pytest.raises(InputError, match="but the vocabulary's go from 0 to 2"):
        STRICT.decode(ids)


def test_a_contract_holds_vocabularies() -> None:
    known = {"source": LETTERS, "words": SMALL, "target": PHONES}
    assert vocabularies({name: vocabulary.to_json() for name, vocabulary in known.items()}) == known
    assert SMALL.to_json() == {"symbols": ["a", "b", "ß"], "kind": "character", "split": True, "lower": True}
    assert not {"split", "lower"} & set(LETTERS.to_json())
    assert vocabularies(None) == {}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (["a"], "objects by input are expected"),
        ({"tokens": ["a"]}, "'tokens' is malformed"),
        ({"tokens": {"kind": "word"}}, "a list of symbols is expected"),
        ({"tokens": {"symbols": ["a", 1]}}, "symbols that are no text"),
        ({"tokens": {"symbols": ["a"], "merges": []}}, "'merges', which this runtime does not know"),
        ({"tokens": {"symbols": ["a"], "kind": "bytes"}}, "known are character, word"),
        ({"tokens": {"symbols": ["a", "b", "a"]}}, "'a' stands twice"),
        ({"tokens": {"symbols": ["a"], "unknown": 1}}, "'unknown' of the vocabulary is 1, but its ids go from 0 to 0"),
        ({"tokens": {"symbols": ["a"], "start": True}}, "'start' of the vocabulary is True"),
        ({"tokens": {"symbols": ["a"], "split": 1}}, "'split' of the vocabulary is 1, but true or false is expected"),
        ({"tokens": {"symbols": ["a"], "lower": None}}, "'lower' of the vocabulary is None, but true or false"),
    ],
)
def test_a_malformed_vocabulary_is_told_in_words(value: object, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        vocabularies(value)
