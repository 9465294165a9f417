"""Text as data: what becomes of a file, of CPython's documentation topics, and what no part may see of another."""

from hashlib import sha256

import numpy as np
import pytest
from edgeseq_runtime.errors import MissingFileError, UsageError

from edgeseq.data import python_docs, read_file, text
from edgeseq.data.text import RARE, SPECIAL, START, UNKNOWN, WINDOW, Document


def test_rows_read_on_where_the_one_before_stopped():
    document = Document("ab" * WINDOW + "c", 0)
    train, _, test = text.datasets([document], [document], [Document("caz", 1)])
    assert train.labels == train.vocabulary["tokens"] == (*SPECIAL, "a", "b")  # c is rare
    assert train.lengths.tolist() == [WINDOW, WINDOW, 2]
    assert train.x[0, :3].tolist() == [START, 2, 3]
    assert train.y[0, :3].tolist() == [2, 3, 2]
    assert (train.y[:-1, -1] == train.x[1:, 0]).all()
    assert train.y[2, :2].tolist() == [UNKNOWN, START]
    assert test.x[0].tolist() == [START, UNKNOWN, 2, UNKNOWN]
    assert test.groups.tolist() == [1]


def test_a_part_is_made_of_whole_groups_and_large_ones_are_trained_on():
    documents = [Document("x" * 5000, 0), *(Document("y" * 90, group) for group in range(1, 40) for _ in range(2))]
    train, validation, test = text.divide(documents, seed=0)
    groups = [{document.group for document in part} for part in (train, validation, test)]
    assert set.union(*groups) == set(range(40))
    assert sum(map(len, groups)) == 40
    assert 0 in groups[0]
    for part in (validation, test):
        assert 0.8 * text.SHARE < sum(len(d.text) for d in part) / sum(len(d.text) for d in documents) <= text.SHARE


def test_a_file_of_one_document_is_cut_in_its_order(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("".join(chr(ord("a") + i % 7) for i in range(10_000)))
    loaded = read_file(path)
    assert [int(part.lengths.sum()) for part in (loaded.whole, loaded.validation, loaded.test)] == [8001, 1001, 1001]
    assert loaded.whole.labels == (*SPECIAL, *"abcdefg")


def test_form_feeds_stand_between_documents(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("\f".join(f"{i} is a number. " * 40 for i in range(20)))
    loaded = read_file(path)
    seen = [set(part.groups.tolist()) for part in (loaded.whole, loaded.validation, loaded.test)]
    assert sorted(group for part in seen for group in part) == list(range(20))


@pytest.mark.parametrize("content", [b"", b"too short", b"\xff" * 5000])
def test_what_is_no_text_is_refused_in_words(content, tmp_path):
    path = tmp_path / "mine.txt"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"characters, but at least|not text in UTF-8"):
        read_file(path)


@pytest.fixture(scope="module")
def topics():
    path = python_docs.topics_file()
    if not path.exists():
        pytest.skip("this Python comes without pydoc_data")
    return python_docs.topics(path.read_bytes())


def test_topics_are_read_without_being_run(topics):
    assert len(topics) > 70
    assert topics["for"].startswith('The "for" statement\n')
    with pytest.raises(ValueError, match="malformed"):
        python_docs.topics(b"topics = {'for': print('run')}")
    with pytest.raises(UsageError, match="no dict"):
        python_docs.topics(b"print('run')")


def test_no_part_sees_what_another_repeats(topics):
    parts = text.divide(python_docs.documents(topics), seed=0)
    seen = [set().union(*(python_docs.paragraphs(document.text) for document in part)) for part in parts]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        shared = sum(map(len, seen[one] & seen[other]))
        assert shared < 0.02 * sum(map(len, seen[other]))


def test_a_section_of_a_longer_topic_is_left_out_and_relatives_are_one_group():
    page = [f"This is the paragraph with the number {i}, and it is long enough." for i in range(20)]
    other = [f"Another page has other paragraphs; this is its {i}th one of them." for i in range(20)]
    documents = python_docs.documents(
        {
            "page": "\n\n".join(page),
            "section": "Title\n\n" + "\n\n".join(page[3:9]),
            "related": "\n\n".join([*other[:10], *page[:6]]),
            "strange": "\n\n".join(other[10:]),
        }
    )
    assert [document.group for document in documents] == [0, 0, 2]


def test_the_source_gives_parts_of_its_own():
    digest = sha256(python_docs.topics_file().read_bytes()).hexdigest()
    if digest not in python_docs.KNOWN:
        pytest.skip("the documentation topics of this Python are not known")
    loaded = python_docs.load()
    assert loaded.about.sha256 == digest
    assert python_docs.KNOWN[digest] in loaded.about.licence
    characters = [int(part.lengths.sum()) for part in (loaded.whole, loaded.validation, loaded.test)]
    assert characters[0] > 290_000
    assert min(characters[1:]) > 35_000
    assert (loaded.test.x == UNKNOWN).mean() < 1e-3
    assert np.bincount(loaded.whole.y[loaded.whole.valid])[UNKNOWN + 1 :].min() >= RARE


def test_another_text_is_refused_with_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(python_docs, "topics_file", lambda: tmp_path / "topics.py")
    with pytest.raises(MissingFileError, match="no documentation topics"):
        python_docs.load()
    (tmp_path / "topics.py").write_text("topics = {}")
    with pytest.raises(UsageError, match=r"SHA-256 [0-9a-f]{64}, which is not a known one; .*data.path=mine.txt"):
        python_docs.load()
