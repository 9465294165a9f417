"""Turkish sentences from forums, blogs and Wikipedia, with one of 14 universal part-of-speech tags a word.

4,851 sentences and 66,466 words of 2,379 documents. The treebank divides a Turkish word into inflectional groups where
a suffix makes another part of speech of it (`Açık la nma yan`: noun, verb, verb, adjective). Here a word is what is
written between spaces and punctuation marks, and its tag is that of its last group, which is what the word is in its
sentence: so a text can be tagged that nobody has divided. The files are read out of the package turkish-treebanks,
which is not imported.
"""

from collections.abc import Sequence
from hashlib import sha256

from edgeseq.data import conllu
from edgeseq.data.dataset import About, Loaded
from edgeseq.data.packages import package_file
from edgeseq.data.tagged import Tagged, divided

_FILES = ("data/web.conllu", "data/wiki.conllu")
_VERSION = "1.0.0"
_CITATION = (
    "T. Kayadelen, A. Ozturel and B. Bohnet: A Gold Standard Dependency Treebank for Turkish. Proceedings of the "
    "12th Language Resources and Evaluation Conference (LREC 2020), pages 5156-5163"
)
_LICENCE = f"Apache-2.0; read from the package turkish-treebanks {_VERSION}"
_GROUP = "ig"  # the relation of an inflectional group to the next one of its word


def load() -> Loaded:
    """Whole documents in three parts, eight tenths to train on; the vocabulary is of that part alone.

    Raises:
        MissingPackageError: turkish-treebanks is not installed.
    """
    contents = [package_file("turkish-treebanks", _VERSION, name).read_bytes() for name in _FILES]
    sentences = [
        _tagged(sentence)
        for content, name in zip(contents, _FILES, strict=True)
        for sentence in conllu.parse(content.decode(), name)
    ]
    about = About("turkish-tags", sha256(b"".join(contents)).hexdigest(), _CITATION, _LICENCE)
    train, validation, test = divided(sentences, about.name)
    return Loaded(train, about, test, validation)


def _tagged(sentence: conllu.Sentence) -> Tagged:
    """A sentence by written words; its document is its name without the number behind the last colon."""
    words = written(sentence.words)
    document = sentence.name.rpartition(":")[0]
    return Tagged(tuple(word.form for word in words), tuple(word.tag for word in words), document)


def written(groups: Sequence[conllu.Word]) -> list[conllu.Word]:
    """Inflectional groups put together to words, with the tag of the last."""
    words: list[conllu.Word] = []
    begun = ""
    for group in groups:
        begun += group.form
        if group.relation != _GROUP:
            words.append(conllu.Word(begun, group.tag, group.relation))
            begun = ""
    return words
