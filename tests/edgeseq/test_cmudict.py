"""Words and their phones: the dictionary's notation, parts that share no word, every pronunciation right."""

from itertools import combinations

import numpy as np
import pytest
from edgeseq_runtime.errors import UsageError

from edgeseq.data import cmudict, open_data
from edgeseq.data.dataset import ABSENT, Dataset
from edgeseq.recipe import DataTable

SHA256 = "81917843c7f44ce2b094ac63873c2c7a4cf802040792c455ba3ca406891c3d22"
MANY = [first + second for first in "abcdefghij" for second in "aeiou'.-"]
"""80 words."""


def text_of(words):
    """A dictionary in which each word is spoken in two ways, the second longer."""
    return "".join(f"{word} AH0\n{word}(2) T EY1 Z\n" for word in words)


def told(text):
    """By word, its pronunciations as phones."""
    found = cmudict.pronunciations(text, "a.dict")
    return {word: [" ".join(cmudict.PHONES[n] for n in phones) for phones in each] for word, each in found.items()}


def words_of(part):
    """What the token ids of each row spell."""
    return ["".join(cmudict.LETTERS[i] for i in row[:end]) for row, end in zip(part.x, part.lengths, strict=True)]


def spoken(part):
    """The phones of each row."""
    return [" ".join(part.labels[i] for i in row[:end]) for row, end in zip(part.y, part.y_lengths, strict=True)]


def accepted(part):
    """All phones that count as right, row by row."""
    return [
        [" ".join(part.labels[i] for i in each[each != ABSENT]) for each in row if (each != ABSENT).any()]
        for row in part.accepted
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a AH0\n", {"a": ["AH"]}),
        ("a AH0\na(2) EY1\na(3) AA2", {"a": ["AH", "EY", "AA"]}),
        ("a AH0\na EY1\n", {"a": ["AH", "EY"]}),
        ("tune T UW1 N\ntune(2) T UW0 N\n", {"tune": ["T UW N"]}),
        ("tune T UW1 N\ntune(2) T Y UW1 N\ntune(3) T UW2 N\n", {"tune": ["T UW N", "T Y UW N"]}),
        ("b B IY\n# B IY1\n\n  \nc S IY1 # old, D IY1\n", {"b": ["B IY"], "c": ["S IY"]}),
        ("a\tAH0\r\na.m.  EY1 EH1 M\r\n", {"a": ["AH"], "a.m.": ["EY EH M"]}),
        ("o'er AO1 R\nad-lib AE1 D L IH1 B\n", {"o'er": ["AO R"], "ad-lib": ["AE D L IH B"]}),
        ("café K AE0 F EY1\nA AH0\nb2 B IY1\nb(x) B IY1\n(2) B IY1\nb B IY1\n", {"b": ["B IY"]}),
        ("", {}),
    ],
    ids=["stress", "variants", "repeated", "equal", "first", "comments", "white space", "marks", "odd words", "empty"],
)
def test_the_notation(text, expected):
    assert told(text) == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("hello", "line 2 of a.dict has the word 'hello' alone, but its phones are expected"),
        ("hello # HH AH0", "line 2 of a.dict has the word 'hello' alone"),
        ("hello HH AX0", "line 2 of a.dict has the phone 'AX0', but expected are AA AE"),
        ("hello HH AH3", "the phone 'AH3'"),
        ("hello HH AH01", "the phone 'AH01'"),
        ("hello hh", "the phone 'hh'"),
        ("héllo there", "the phone 'there'"),
    ],
)
def test_a_malformed_line_is_named(line, message):
    with pytest.raises(UsageError, match=message):
        cmudict.parse(f"{text_of(['a'])[:6]}{line}\n{text_of(MANY)}", "a.dict")


@pytest.mark.parametrize("count", [0, 2])
def test_too_few_words(count):
    with pytest.raises(UsageError, match=f"a.dict has {count} words .* at least 3"):
        cmudict.parse(text_of(MANY[:count]) + "Odd AA1 D\n", "a.dict")


@pytest.mark.parametrize(("count", "aside"), [(3, 1), (10, 1), (29, 1), (30, 2), (80, 4)])
def test_parts_share_no_word(count, aside):
    parts = cmudict.parse(text_of(MANY[:count]), "a.dict")
    words = [set(words_of(part)) for part in parts]
    assert [len(each) for each in words] == [count - 2 * aside, aside, aside]
    assert set.union(*words) == set(MANY[:count])


def test_the_division_is_the_same_whatever_the_order_of_the_lines():
    one, other = (cmudict.parse(text_of(words), "a.dict") for words in (MANY, MANY[::-1]))
    assert [words_of(part) for part in one] == [words_of(part) for part in other]
    assert words_of(one[1]) != sorted(MANY)[-8:-4], "not drawn, but cut in order"


def test_a_row_is_a_pronunciation_in_training_and_a_word_elsewhere():
    train, validation, test = cmudict.parse(text_of(MANY), "a.dict")
    assert train.accepted is None
    assert spoken(train) == ["AH", "T EY Z"] * 72
    assert words_of(train)[::2] == words_of(train)[1::2]
    for part in (validation, test):
        assert spoken(part) == ["AH"] * 4
        assert accepted(part) == [["AH", "T EY Z"]] * 4
        assert (part.accepted.dtype, part.accepted.shape) == (np.int64, (4, 2, 3))


def test_arrays_are_padded_and_say_what_they_hold():
    lines = "a AH0\nab AE1 B\nab(2) EY1 B IY1\nabc EY1 B IY1 S IY1\n"
    for part in cmudict.parse(lines, "a.dict"):
        assert (part.x.dtype, part.y.dtype, part.lengths.dtype, part.y_lengths.dtype) == (np.int64,) * 4
        assert (part.task, part.labels, part.token_count) == ("transcribe", cmudict.PHONES, 29)
        assert part.vocabulary == {"tokens": cmudict.LETTERS}
        assert part.groups.tolist() == words_of(part)
        assert not part.x[~part.valid].any()
        assert not part.y[np.arange(part.y.shape[1]) >= part.y_lengths[:, None]].any()
        assert (part.x.shape[1], part.y.shape[1]) == (part.lengths.max(), part.y_lengths.max())
    assert list(cmudict.LETTERS) == sorted(set("abcdefghijklmnopqrstuvwxyz'-."))
    assert list(cmudict.PHONES) == sorted(set(cmudict.PHONES))


def test_words_with_fewer_pronunciations_are_filled_up(monkeypatch):
    monkeypatch.setattr(cmudict, "SHARE", 0.4)
    lines = "a AH0\na(2) EY1\na(3) AA1 AA1\n" + "".join(f"{word} B IY1\n" for word in "bcde")
    parts = cmudict.parse(lines, "a.dict")
    (part,) = (part for part in parts[1:] if "a" in words_of(part))
    assert dict(zip(words_of(part), accepted(part), strict=True))["a"] == ["AH", "EY", "AA AA"]
    assert sorted(map(len, accepted(part))) == [1, 3]


def dataset(count, many=None, longest=2, **changes):
    """Rows of two classes; with `many`, so many right answers of `longest` classes each."""
    table = None if many is None else np.full((count, many, longest), count, np.int64)
    ones = np.ones(count, np.int64)
    arrays = {"lengths": ones, "labels": ("x", "y"), "y_lengths": ones, "accepted": table, **changes}
    return Dataset(np.zeros((count, 1), np.int64), np.zeros((count, 1), np.int64), **arrays)


def test_joined_answers_are_padded_with_what_is_no_class():
    joined = dataset(1, 1, 3).join(dataset(2, 2, 2)).accepted
    assert joined.tolist() == [
        [[1, 1, 1], [ABSENT] * 3],
        [[2, 2, ABSENT], [2, 2, ABSENT]],
        [[2, 2, ABSENT], [2, 2, ABSENT]],
    ]


@pytest.mark.parametrize("sizes", [(None, 2), (2, None), (None, None)])
def test_joined_to_data_without_them_y_alone_is_right(sizes):
    joined = dataset(1, sizes[0]).join(dataset(2, sizes[1]))
    assert (len(joined), joined.accepted) == (3, None)
    assert joined.y_lengths.tolist() == [1, 1, 1]


def test_training_and_validation_part_are_joined():
    train, validation, _ = cmudict.parse(text_of(MANY), "a.dict")
    joined = train.join(validation)
    assert joined.accepted is None
    assert spoken(joined) == spoken(train) + spoken(validation)


def test_rows_take_their_answers_along():
    table = np.arange(12).reshape(3, 2, 2)
    assert dataset(3, accepted=table).rows(np.array([2, 0])).accepted.tolist() == table[[2, 0]].tolist()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accepted": np.zeros((2, 3), np.int64)}, r"accepted has shape \(2, 3\), but \(examples, most, longest\)"),
        ({"accepted": np.zeros((3, 1, 1), np.int64)}, r"x has 2 examples, but accepted has shape \(3, 1, 1\)"),
        ({"accepted": np.zeros((2, 1, 1), np.int64), "y_lengths": None}, "y holds none; give y_lengths"),
    ],
)
def test_answers_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        dataset(2, **changes)


def test_a_file_of_ones_own(tmp_path):
    (tmp_path / "mine.dict").write_text(text_of(MANY), encoding="utf-8")
    parts = open_data(DataTable(path="mine.dict"), tmp_path)
    assert [len(part) for part in (parts.train, parts.validation, parts.test)] == [144, 4, 4]
    with pytest.raises(UsageError, match="its own test part"):
        open_data(DataTable(path="mine.dict", test=0.2), tmp_path)


def test_the_dictionary(tmp_path):
    parts = open_data(DataTable(source="cmudict"), tmp_path)
    assert parts.about.sha256 == SHA256
    assert [len(part) for part in (parts.train, parts.validation, parts.test)] == [121415, 6303, 6303]
    words = [set(part.groups) for part in (parts.train, parts.validation, parts.test)]
    assert sum(map(len, words)) == 126052
    for one, other in combinations(words, 2):
        assert not one & other
    answers = dict.fromkeys(("hello", "tomato"), ())
    for word, phones in zip(parts.train.groups, spoken(parts.train), strict=True):
        if word in answers:
            answers[word] += (phones,)
    assert answers == {"hello": ("HH AH L OW", "HH EH L OW"), "tomato": ("T AH M EY T OW", "T AH M AA T OW")}
    valid = np.arange(parts.train.y.shape[1]) < parts.train.y_lengths[:, None]
    assert set(parts.train.y[valid]) == set(range(39))
    assert words_of(parts.test) == parts.test.groups.tolist()
    first = parts.test.groups[:5].tolist()
    assert first == ["'round", "a's", "a.m.", "aalto", "aaron"], "numpy's generator draws others: other test words"
    for part in (parts.validation, parts.test):
        assert all(first in every for first, every in zip(spoken(part), accepted(part), strict=True))
        assert max(map(len, accepted(part))) == 4
    pairs = len(parts.train) + sum(map(len, accepted(parts.validation))) + sum(map(len, accepted(parts.test)))
    assert pairs == 134860
