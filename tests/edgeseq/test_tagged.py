"""Tagged sentences: CoNLL-U is read as its specification says, documents stay whole, vocabularies are training's."""

import numpy as np
import pytest
from edgeseq_runtime.errors import UsageError

from edgeseq.data import conllu, open_data, tagged, turkish_tags
from edgeseq.recipe import DataTable

CONLLU = """# newdoc id = a
# sent_id = a-1
# text = Dámelo.
1-2\tDáme\t_\t_\t_\t_\t_\t_\t_\tSpaceAfter=No
1\tDá\tdar\tVERB\t_\t_\t0\troot\t_\t_
2\tme\tyo\tPRON\t_\t_\t1\tiobj\t_\tSpaceAfter=No
2.1\testo\t_\tPRON\t_\t_\t_\t_\t1:obj\t_
3\tlo\tél\tPRON\t_\t_\t1\tobj\t_\tSpaceAfter=No

# newdoc id = b
1\tSí\tsí\tINTJ\t_\t_\t0\troot\t_\t_
"""


def line(form="Sí", tag="INTJ"):
    return f"1\t{form}\t_\t{tag}\t_\t_\t0\troot\t_\t_"


def documents(count):
    return "\n\n".join(f"# newdoc id = {i}\n{line()}\n\n{line('No', 'PART')}" for i in range(count)) + "\n"


VOCABULARY = {"words": 5516, "characters": 131}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_ranges_and_empty_nodes_are_no_words(newline):
    first, second = conllu.parse(CONLLU.replace("\n", newline), "a.conllu")
    assert [(word.form, word.tag) for word in first.words] == [("Dá", "VERB"), ("me", "PRON"), ("lo", "PRON")]
    assert (first.name, first.document, second.name, second.document) == ("a-1", "a", "", "b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.conllu holds no sentence"),
        ("# text = nothing\n\n", "holds no sentence"),
        (line() + "\n" + line().replace("\t_\t_\t0", "\t_ 0"), "line 2 of a.conllu has 8 columns parted by tabs"),
        (line().replace("1", "one", 1), "line 1 of a.conllu has the ID 'one'"),
        (line(tag="_"), r"line 1 of a.conllu has no tag \(UPOS\)"),
        (line(form=""), "line 1 of a.conllu has no form"),
        (documents(2), "a.conllu has 2 documents, too few"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(text, message):
    with pytest.raises(UsageError, match=message):
        tagged.parse(text, "a.conllu")


def test_a_file_is_divided_by_document(tmp_path):
    (tmp_path / "a.conllu").write_text(documents(40), encoding="utf-8")
    parts = open_data(DataTable(path="a.conllu"), tmp_path)
    groups = [set(part.groups) for part in (parts.train, parts.validation, parts.test)]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 40
    assert parts.train.labels == ("INTJ", "PART")
    assert parts.test.y[:, 0].tolist() == [0, 1] * len(groups[2])
    with pytest.raises(UsageError, match="its own test part"):
        open_data(DataTable(path="a.conllu", test=0.2), tmp_path)


@pytest.mark.parametrize("count", [3, 4, 9, 10, 17])
def test_few_documents_are_divided_too(count):
    """Named so that the hash alone leaves a part empty."""
    names = [name for name in map(str, range(1000)) if tagged._by_share({name})[name] == tagged._TRAIN][:count]
    parts = tagged.divided([tagged.Tagged(("a",), ("X",), name) for name in names], "a.conllu")
    groups = [set(part.groups) for part in parts]
    assert set.union(*groups) == set(names)
    few = max(1, round(count / 10))
    assert [len(group) for group in groups] == [count - 2 * few, few, few]


def test_documents_without_a_name_are_counted():
    text = f"{line()}\n\n# newdoc\n{line()}\n\n{line()}\n\n# newdoc id = b \n{line()}\n\n# newdoc id =\n{line()}\n"
    assert [sentence.document for sentence in conllu.parse(text, "a.conllu")] == ["", "1", "1", "b", "3"]


def test_a_document_is_known_by_its_name_wherever_it_stands():
    texts = [f"# newdoc id = {i}\n{line()}" for i in range(40)]
    placed = []
    for order in (texts, texts[::-1]):
        parts = tagged.parse("\n\n".join(order) + "\n", "a.conllu")
        placed.append([set(part.groups) for part in parts])
    assert placed[0] == placed[1]


def test_without_documents_every_sentence_is_one(tmp_path):
    text = "\n\n".join([line()] * 60) + "\n"
    train, validation, test = tagged.parse(text, "a.conllu")
    assert len({*train.groups, *validation.groups, *test.groups}) == 60


def test_ids_stand_for_what_training_saw_twice():
    sentences = [
        tagged.Tagged(("ab", "ab", "b"), ("X", "X", "Y"), "0"),
        tagged.Tagged(("c",), ("Y",), "1"),
    ]
    symbols = tagged.vocabulary(sentences[:1])
    assert symbols == {"words": (*tagged.SPECIAL, "ab"), "characters": (*tagged.SPECIAL, "b", "a")}
    data = tagged.dataset(sentences, symbols, ("X", "Y"))
    assert data.x.tolist() == [[2, 2, 1], [1, 0, 0]]
    assert data.more["characters"].tolist() == [[[3, 2], [3, 2], [2, 0]], [[1, 0], [0, 0], [0, 0]]]
    assert (data.y.tolist(), data.lengths.tolist()) == ([[0, 0, 1], [1, 0, 0]], [3, 1])


def test_inflectional_groups_are_put_together():
    groups = [conllu.Word(*word) for word in (("Açık", "NOUN", "ig"), ("la", "VERB", "ig"), ("yan", "ADJ", "rcmod"))]
    words = turkish_tags.written([*groups, conllu.Word("soru", "NOUN", "poss")])
    assert [(word.form, word.tag) for word in words] == [("Açıklayan", "ADJ"), ("soru", "NOUN")]


def test_turkish_tags():
    loaded = turkish_tags.load()
    parts = (loaded.whole, loaded.validation, loaded.test)
    assert [len(part) for part in parts] == [3955, 482, 414]
    assert sum(int(part.lengths.sum()) for part in parts) == 66466
    groups = [set(part.groups) for part in parts]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 2379
    assert len(loaded.whole.labels) == 14
    for part in parts:
        assert (part.x[part.valid] > 0).all()
        assert (part.x[~part.valid] == 0).all()
        assert (part.more["characters"][part.valid][:, 0] > 0).all()
    unknown = [np.mean(part.x[part.valid] == tagged.UNKNOWN) for part in (loaded.whole, loaded.test)]
    assert unknown[0] < unknown[1]
    assert {name: len(symbols) for name, symbols in loaded.whole.vocabulary.items()} == VOCABULARY
