"""The tagger: padding changes nothing, unknown words are told by their spelling, and one file takes any word."""

import json

import numpy as np
import pytest
import torch
from edgeseq_export import Source, export
from edgeseq_runtime import load
from edgeseq_runtime.errors import UsageError

from edgeseq.cli import app
from edgeseq.data import Dataset, tagged
from edgeseq.nn import Hints, build
from edgeseq.nn.tagger import Tagger
from edgeseq.text import vocabularies

SMALL = {"output_size": 3, "vocabulary_size": 9, "alphabet_size": 7, "letters": 5, "hidden_size": 4, "filters": 6}
CELLS = ({"cell": "rnn"}, {"cell": "gru", "num_layers": 2}, {"cell": "lstm", "kernel_sizes": [5]})


def make(**config):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        hints = Hints(typical={"batch": 1, "time": 6})
        return build("tagger", {**SMALL, **config}, hints).eval()


def sentences(batch, time, letters, seed=0):
    """Random ids of words of 1 to `letters` characters."""
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(1, 9, (batch, time), generator=generator)
    characters = torch.randint(1, 7, (batch, time, letters), generator=generator)
    ends = torch.randint(1, letters + 1, (batch, time, 1), generator=generator)
    return words, characters * (torch.arange(letters) < ends)


@pytest.fixture(params=CELLS, ids=lambda config: config["cell"])
def network(request):
    return make(**request.param)


def test_padding_behind_words_and_sentences_changes_nothing(network):
    words, characters = sentences(1, 5, 4)
    alone = network(words, characters, torch.tensor([5]))["logits"]
    padded = torch.nn.functional.pad(words, (0, 3)), torch.nn.functional.pad(characters, (0, 6, 0, 3))
    torch.testing.assert_close(network(*padded, torch.tensor([5]))["logits"][:, :5], alone)


def test_a_batch_equals_its_rows_one_by_one(network):
    words, characters = sentences(4, 6, 5)
    lengths = torch.tensor([6, 1, 3, 5])
    together = network(words, characters, lengths)["logits"]
    for row, length in enumerate(lengths.tolist()):
        alone = network(words[row : row + 1, :length], characters[row : row + 1, :length])["logits"]
        torch.testing.assert_close(together[row, :length], alone[0])


def test_every_answer_depends_on_the_whole_sentence(network):
    words, characters = sentences(1, 4, 5)
    before = network(words, characters)["logits"]
    for place in (0, 3):
        changed = words.clone()
        changed[0, place] = words[0, place] % 8 + 1
        moved = (network(changed, characters)["logits"] - before).abs().sum(-1)[0]
        assert (moved > 0).all()


def test_training_takes_a_share_of_the_words_for_unknown():
    network = make(cell="gru", word_dropout=0.5).train()
    words = torch.full((40, 40), 5)
    words[:, 30:] = tagged.PADDING
    seen = network._forgotten(words)
    assert set(seen[:, :30].unique().tolist()) == {tagged.UNKNOWN, 5}
    assert 0.4 < (seen[:, :30] == tagged.UNKNOWN).float().mean() < 0.6
    assert (seen[:, 30:] == tagged.PADDING).all()
    assert network.eval()._forgotten(words) is words


def test_a_batch_is_cut_after_its_longest_word():
    network = make(cell="gru")
    words, characters = sentences(3, 4, 4)
    batch = {"x": words, "lengths": torch.tensor([4, 2, 1]), "characters": torch.nn.functional.pad(characters, (0, 9))}
    assert network.inputs(batch)["characters"].shape == (3, 4, 4)
    assert network.inputs({**batch, "characters": torch.zeros(3, 4, 8, dtype=torch.int64)})["characters"].shape[2] == 1


def test_the_spelling_tells_words_it_never_saw():
    """Tags follow the last letter; the words of training and test have no word in common."""
    rng = np.random.default_rng(0)

    def drawn(last):
        stems = ["".join(rng.choice(list("abcde"), rng.integers(2, 6))) + str(rng.choice(list(last))) for _ in range(5)]
        return tagged.Tagged(tuple(stems), tuple("vowel" if stem[-1] in "ae" else "other" for stem in stems), "0")

    train, test = ([drawn("abcde") for _ in range(count)] for count in (80, 30))
    symbols = {"words": tagged.SPECIAL, "characters": tagged.vocabulary(train)["characters"]}
    parts = [tagged.dataset(part, symbols, ("other", "vowel")) for part in (train, test)]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build("tagger", {**Tagger.sizes(parts[0]), "cell": "gru", "hidden_size": 8})
        optimiser = torch.optim.Adam(network.parameters(), 0.05)
        batches = [
            {
                name: torch.from_numpy(array)
                for name, array in (("x", d.x), ("y", d.y), ("lengths", d.lengths), *d.more.items())
            }
            for d in parts
        ]
        for _ in range(60):
            loss = network.loss(network(**network.inputs(batches[0])), batches[0])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    network.eval()
    assert network.metrics(network(**network.inputs(batches[1])), batches[1])["accuracy"] > 0.95


def test_data_without_spelling_is_refused():
    data = Dataset(np.ones((2, 3), np.int64), np.ones((2, 3), np.int64), np.array([3, 3]), labels=("a", "b"))
    with pytest.raises(UsageError, match="the data has no vocabulary of words"):
        Tagger.sizes(data)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"cell": "elman"}, "cell"),
        ({"cell": "gru", "kernel_sizes": [3, 4]}, r"kernel_sizes is \[3, 4\], but odd numbers"),
        ({"cell": "gru", "kernel_sizes": []}, "odd numbers are needed"),
        ({"cell": "gru", "filters": 0}, "filters is 0"),
        ({"cell": "gru", "word_dropout": 1.0}, "word_dropout is 1.0"),
        ({"cell": "gru", "alphabet_size": 1}, "alphabet_size is 1"),
        ({"cell": "gru", "output_size": 1}, "output_size is 1"),
    ],
)
def test_refused_configs(config, message):
    with pytest.raises(UsageError, match=message):
        make(**config)


def test_files_take_any_sentence_and_an_unrolled_one_up_to_its_steps(tmp_path):
    network = make(cell="lstm")
    source = Source(network, network.signature(), network.family, network.task, "test")
    export(source, tmp_path / "any.onnx", verify=False)
    export(source, tmp_path / "unrolled.onnx", form="unroll", steps=6, verify=False)
    free, unrolled = load(tmp_path / "any.onnx"), load(tmp_path / "unrolled.onnx")
    for batch, time, letters in [(1, 1, 1), (3, 6, 5), (2, 4, 5), (2, 17, 30)]:
        words, characters = sentences(batch, time, letters)
        lengths = torch.arange(time, time - batch, -1).clamp(min=1)
        expected = network(words, characters, lengths)["logits"].detach().numpy()
        given = {"words": words.numpy(), "characters": characters.numpy(), "lengths": lengths.numpy()}
        valid = np.arange(time) < lengths.numpy()[:, None]
        for model in (free, unrolled) if (time <= 6 and letters == 5) else (free,):
            np.testing.assert_allclose(model.run(given)["logits"][valid], expected[valid], rtol=1e-4, atol=1e-5)


SYMBOLS = {"words": (*tagged.SPECIAL, "da", "bir"), "characters": (*tagged.SPECIAL, "a", "d", "b", "i", "r")}


def test_the_contract_says_how_text_is_read():
    config = {**SMALL, "cell": "gru", "vocabulary_size": 4}
    known = vocabularies(build("tagger", config, Hints(vocabulary=SYMBOLS)).vocabulary())
    assert known["words"].encode("bir da bu").tolist() == [3, 2, tagged.UNKNOWN]
    assert known["characters"].spell(["da a"]).tolist() == [[[3, 2], [2, 0]]]
    assert make(cell="gru").vocabulary() is None


def test_a_text_is_tagged_word_by_word(tmp_path, capsys):
    network = make(cell="gru", vocabulary_size=4)
    network.hints = Hints(typical={"batch": 1, "time": 3}, vocabulary=SYMBOLS)
    labels = ("A", "B", "C")
    source = Source(network, network.signature(), "tagger", "classify", "test", labels, vocabulary=network.vocabulary())
    export(source, tmp_path / "free.onnx", verify=False)
    export(source, tmp_path / "unrolled.onnx", form="unroll", verify=False)
    words, characters = torch.tensor([[3, 1, 2]]), torch.tensor([[[4, 5, 6], [4, 1, 0], [3, 2, 0]]])
    expected = network(words, characters)["logits"].argmax(-1)[0].tolist()
    for name in ("free", "unrolled"):
        with pytest.raises(SystemExit) as ended:
            app.run(["run", str(tmp_path / f"{name}.onnx"), "--text", "bir bu  da", "--text", "da", "--json"])
        assert ended.value.code == 0
        first, second = json.loads(capsys.readouterr().out)["results"]
        assert first["word"] == ["bir", "bu", "da"]
        assert first["label"] == [labels[number] for number in expected]
        assert (second["word"], len(second["label"])) == (["da"], 1)
    with pytest.raises(SystemExit):
        app.run(["run", str(tmp_path / "free.onnx"), "--text", "bir bu"])
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["sequence", "step", "word", "label", "probability"]
    assert [row[:3] for row in rows[1:]] == [["0", "0", "bir"], ["0", "1", "bu"]]
