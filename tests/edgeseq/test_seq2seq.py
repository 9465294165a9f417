"""The seq2seq family: training, figures, settings, and what a user does with it on the command line."""

import json

import numpy as np
import pytest
import torch
from edgeseq_runtime import load
from edgeseq_runtime.errors import LongInputWarning, UsageError
from typer.testing import CliRunner

from edgeseq import checkpoint
from edgeseq.cli.app import app
from edgeseq.data import About, Dataset, Parts
from edgeseq.nn import Hints, build
from edgeseq.nn.edits import edit_distance
from edgeseq.nn.seq2seq_config import END, PADDING, START
from edgeseq.opening import open_source
from edgeseq.recipe import ModelTable
from edgeseq.training.batches import Batches
from edgeseq.training.evaluate import evaluate
from edgeseq.training.network import network_for, parts_for

LETTERS, PHONES = ("a", "b", "c"), ("A", "B", "C")


def reversed_words(count=300, accepted=False):
    """Words of a, b and c; the answer is the word backwards in capitals."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 6, count)
    x, y = np.zeros((2, count, 5), np.int64)
    for row, length in enumerate(lengths):
        x[row, :length] = rng.integers(0, 3, length)
        y[row, :length] = x[row, :length][::-1]
    more = {}
    if accepted:
        also = np.where(np.arange(5) < lengths[:, None], y, -1)
        more = {"accepted": np.stack([np.where(also >= 0, (also + 1) % 3, -1), also], 1)}
    return Dataset(x, y, lengths, PHONES, y_lengths=lengths, vocabulary={"tokens": LETTERS}, token_count=3, **more)


def small(**settings):
    return network_for(ModelTable("seq2seq", {"hidden_size": 16, "embedding_size": 8, **settings}), reversed_words(), 0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkpoint that has learnt to turn words around."""
    folder = tmp_path_factory.mktemp("seq2seq")
    network = small(attention="general", hidden_size=32).train()
    optimiser = torch.optim.AdamW(network.parameters(), 0.01)
    for epoch in range(15):
        for batch in Batches(reversed_words(), 16, seed=epoch, bucket=4):
            optimiser.zero_grad()
            network.loss(network(**network.inputs(batch)), batch).backward()
            optimiser.step()
    checkpoint.save(folder / "seq2seq.pt", network.eval(), {}, {})
    return folder / "seq2seq.pt"


def run(*arguments, **more):
    return CliRunner().invoke(app, list(map(str, arguments)), **more)


def test_it_learns(trained):
    network = checkpoint.load(trained).module
    figures = evaluate(network, reversed_words())
    assert figures["sequence_accuracy"] > 0.9
    assert figures["error_rate"] < 0.05
    assert figures["loss"] < 0.2


def test_figures_are_by_the_nearest_right_answer():
    data, network = reversed_words(accepted=True).rows(np.array([0])), small().eval()
    said = data.accepted[0, 0][: int(data.y_lengths[0])].tolist()
    batch = {"y": torch.from_numpy(data.y), "y_lengths": torch.from_numpy(data.y_lengths)}

    def figures(symbols, **more):
        row = torch.tensor([[*(s + 3 for s in symbols), END, PADDING]])
        return {name: float(value) for name, value in network.metrics({"generated": row}, {**batch, **more}).items()}

    assert figures(said)["sequence_accuracy"] == 0
    also = {"accepted": torch.from_numpy(data.accepted)}
    assert figures(said, **also) == {"sequence_accuracy": 1, "edits": 0, "symbols": len(said)}
    assert figures([*said, 0], **also) == {"sequence_accuracy": 0, "edits": 1, "symbols": len(said)}


def test_the_error_rate_is_over_all_symbols():
    """Graves et al. 2006, equation 1: a long answer weighs more than a short one."""
    network, data = small().eval(), reversed_words(50)
    said = network(tokens=torch.from_numpy(data.x), lengths=torch.from_numpy(data.lengths))["generated"].tolist()
    edits = 0
    for row, y, length in zip(said, data.y.tolist(), data.y_lengths, strict=True):
        classes = [symbol - 3 for symbol in row[: row.index(END) if END in row else None]]
        edits += edit_distance(classes, y[:length])
    assert edits > 0
    assert evaluate(network, data)["error_rate"] == pytest.approx(edits / data.y_lengths.sum())


def echoes(count=300):
    """Values to be said once more, one step a value, as many as there are."""
    rng = np.random.default_rng(1)
    lengths = rng.integers(1, 5, count)
    x = np.where(np.arange(4) < lengths[:, None], rng.normal(3, 2, (count, 4)), 0)[..., None].astype(np.float32)
    return Dataset(x, 10 * x, lengths, y_lengths=lengths)


def test_values_learn_to_end(tmp_path):
    data = echoes()
    with torch.random.fork_rng():
        table = ModelTable("seq2seq", {"hidden_size": 32, "stop": "learned", "scheduled_sampling": 0.5})
        network = network_for(table, data, 0).train()
        optimiser = torch.optim.AdamW(network.parameters(), 0.01)
        for epoch in range(25):
            for batch in Batches(data, 16, seed=epoch):
                optimiser.zero_grad()
                network.loss({}, batch).backward()
                optimiser.step()
    figures = evaluate(network.eval(), data)
    assert figures["length_mae"] < 0.1
    assert figures["nrmse"] < 0.5
    checkpoint.save(tmp_path / "echo.pt", network, {}, {})
    done = run("export", tmp_path / "echo.pt")
    assert done.exit_code == 0, done.output
    (tmp_path / "two.jsonl").write_text("[[1], [2]]\n[[1], [2], [3]]\n")
    shown = json.loads(run("run", tmp_path / "echo.onnx", "--input", tmp_path / "two.jsonl", "--json").stdout)
    assert [len(row["values"]) for row in shown["results"]] == [2, 3]


def test_what_is_scored_ends_where_the_answer_does():
    data = echoes(4)
    network = network_for(ModelTable("seq2seq", {"hidden_size": 8, "stop": "learned"}), data, 0).eval()
    batch = next(iter(Batches(data, 4)))
    values = batch["y"] + torch.tensor([1.0, 100.0, 100.0, 100.0])[: batch["y"].shape[1], None]
    outputs = {"values": values, "answer_length": torch.ones(4, dtype=torch.int64)}
    assert network.scored(outputs, batch) == data.y_lengths.sum()
    figures = network.metrics(outputs, batch)
    assert float(figures["mae"] / figures["answered"]) == pytest.approx(1)
    assert float(figures["length_edits"] / figures["rows"]) == pytest.approx((data.y_lengths - 1).mean())


def test_figures_of_a_learned_stop_over_several_batches():
    """512 rows are two batches, of short targets and of long ones; every answer has all of 4 steps."""
    data = echoes(4000)
    short, long = (np.flatnonzero(data.y_lengths == length)[:256] for length in (1, 4))
    both = data.rows(np.concatenate([short, long]))
    network = network_for(ModelTable("seq2seq", {"hidden_size": 8, "stop": "learned"}), both, 0).eval()
    network.output.head.bias.data[-1] = -50
    figures = evaluate(network, both)
    assert figures["length_mae"] == pytest.approx(1.5)
    values = network(x=torch.from_numpy(both.x), lengths=torch.from_numpy(both.lengths))["values"].detach().numpy()
    assert figures["mae"] == pytest.approx(np.abs(values - both.y)[both.answered].mean(), rel=1e-5)


def test_no_stop_to_learn():
    data = echoes(40)
    part = data.rows(np.flatnonzero(data.y_lengths == 3))
    with pytest.raises(UsageError, match="no stop to learn"):
        parts_for(ModelTable("seq2seq", {"stop": "learned"}), Parts(part, part, part, About("echo", "")))


def test_targets_longer_than_those_of_the_training_part():
    data = echoes(20)
    short, long = np.flatnonzero(data.y_lengths < 4), np.flatnonzero(data.y_lengths == 4)
    parts = Parts(data.rows(short), data.rows(short), data.rows(long), About("echo", ""))
    with pytest.raises(UsageError, match=r"4 steps, but the longest of the training part, 3"):
        parts_for(ModelTable("seq2seq", {}), parts)


def test_the_target_is_read_one_step_late():
    network, data = small(), reversed_words(4)
    batch = {"y": torch.from_numpy(data.y), "y_lengths": torch.from_numpy(data.y_lengths)}
    truth, before, valid = network._shifted(batch)
    for row, length in enumerate(data.y_lengths):
        said = [*(data.y[row, :length] + 3), END]
        assert truth[row].tolist() == said + [PADDING] * (truth.shape[1] - len(said))
        assert before[row, : length + 1].tolist() == [START, *said[:-1]]
        assert valid[row].tolist() == [True] * len(said) + [False] * (truth.shape[1] - len(said))


def test_scheduled_sampling_feeds_back_a_share():
    network = small(scheduled_sampling=0.25)
    before = torch.full((200, 50), 7)
    scores = torch.zeros(200, 50, 9)
    scores[..., 8] = 1
    with torch.random.fork_rng():
        torch.manual_seed(0)
        mixed = network._mixed(before, scores)
    assert (mixed[:, 0] == 7).all()
    assert float((mixed[:, 1:] == 8).float().mean()) == pytest.approx(0.25, abs=0.02)


def test_a_row_is_the_same_alone_and_beside_longer_ones(trained):
    network, data = checkpoint.load(trained).module, reversed_words(40)
    together = network(tokens=torch.from_numpy(data.x), lengths=torch.from_numpy(data.lengths))["generated"]
    for row, length in enumerate(data.lengths):
        alone = network(tokens=torch.from_numpy(data.x[row : row + 1, :length]), lengths=torch.tensor([length]))
        assert alone["generated"][0].tolist() == together[row].tolist()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"decode": "beam", "beam_width": 5}, "only 4 symbols that can be said"),
        ({"decode": "beam", "n_best": 5}, "beam of 4 has no more"),
        ({"decode": "widest"}, "'greedy' or 'beam' or 'sample'"),
        ({"attention": "hard"}, "'dot' or 'general'"),
        ({"hidden_size": 15}, "hidden_size is 15"),
        ({"scheduled_sampling": 1.5}, "a share from 0 to 1"),
        ({"max_length": 0}, "max_length is 0"),
        ({"task": "forecast", "decode": "beam"}, "gives values"),
        ({"stop": "learned"}, "end with the end symbol"),
        ({"stop": "never"}, "'length' or 'learned'"),
    ],
)
def test_settings_that_cannot_be(settings, words):
    config = {"input_size": 1, "vocabulary_size": 3, "output_size": 3, "max_length": 6, **settings}
    with pytest.raises(UsageError, match=words):
        build("seq2seq", config)


def test_data_without_target_sequences():
    data = Dataset(np.zeros((4, 3), np.int64), np.zeros(4, np.int64), np.full(4, 3), PHONES)
    with pytest.raises(UsageError, match="y_lengths"):
        network_for(ModelTable("seq2seq", {}), data, 0)


def test_a_vocabulary_that_does_not_fit_the_weights():
    config = {"input_size": 1, "vocabulary_size": 3, "output_size": 3, "max_length": 6}
    with pytest.raises(UsageError, match="vocabulary"):
        build("seq2seq", config, Hints(vocabulary={"tokens": ("a", "b")}))
    with pytest.raises(UsageError, match="2 labels"):
        build("seq2seq", config, Hints(labels=("A", "B")))


@pytest.mark.parametrize(
    ("symbols", "expected"),
    [
        (("a", "b"), {"kind": "character", "lower": True, "split": True}),
        (("a", "B", " "), {"kind": "character"}),
        (("AH", "K"), {"kind": "word"}),
        (("hello", "world", "<unk>"), {"kind": "word", "lower": True, "unknown": 2}),
        (("<unk>", "a"), {"kind": "character", "lower": True, "split": True, "unknown": 0}),
    ],
)
def test_how_a_text_is_read(symbols, expected):
    config = {"input_size": 1, "vocabulary_size": len(symbols), "output_size": 2, "max_length": 6}
    network = build("seq2seq", config, Hints(vocabulary={"tokens": symbols}, labels=("x", "y")))
    assert network.vocabulary()["tokens"] == {"symbols": list(symbols), **expected}
    assert network.vocabulary()["generated"]["kind"] == "character"


def test_settings_of_an_export(trained):
    greedy, beam = open_source(trained), open_source(trained, {"decode": "beam", "beam_width": 3, "max_length": 4})
    assert greedy.decoding["decode"] == "greedy"
    assert beam.signature.outputs[0].axes == ("batch", 1, 4)
    with pytest.raises(UsageError, match="hidden_size"):
        open_source(trained, {"hidden_size": 8})


def test_from_checkpoint_to_text(trained, tmp_path):
    path = tmp_path / "beam.onnx"
    done = run("export", trained, "--decode", "beam", "--beam", 3, "--n-best", 2, "-o", path)
    assert done.exit_code == 0, done.output
    assert run("run", path, "--text", "abc CAB").stdout == "CBA BAC\n"
    shown = json.loads(run("run", path, "--text", "abc", "--json").stdout)["results"][0]
    assert shown["generated"] == ["CBA"]
    assert shown["hypotheses"][0][0]["generated"] == "CBA"
    assert len(shown["hypotheses"][0]) == 2
    assert run("verify", path, trained).exit_code == 0
    assert run("bench", path, "--against", trained).exit_code == 0
    lines = run("run", path, input="abc\na?b\nb\n")
    assert lines.exit_code == 2
    assert lines.stdout.splitlines() == ["CBA", "error", "B"]
    assert "'?'" in lines.stderr


def test_settings_are_of_networks_that_generate(models):
    done = run("export", models / "lstm.pt", "--decode", "beam")
    assert done.exit_code == 2
    assert "is of the family 'seq2seq'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--max-length", 0], "max_length is 0, but at least 1 is needed"),
        (["--beam", 3], "add --decode beam"),
        (["--n-best", 2, "--decode", "sample"], "add --decode beam"),
        (["--decode", "beam", "--beam", 5], "only 4 symbols"),
        (["--steps", 5], "any length in every form"),
    ],
)
def test_settings_that_an_export_refuses(trained, tmp_path, arguments, words):
    done = run("export", trained, *arguments, "-o", tmp_path / "x.onnx")
    assert done.exit_code == 2
    assert words in done.stderr
    assert not (tmp_path / "x.onnx").exists()


def test_a_source_longer_than_trained_is_told_once(trained, tmp_path):
    path = tmp_path / "s.onnx"
    assert run("export", trained, "--no-verify", "-o", path).exit_code == 0
    model = load(path)
    model.run({"tokens": np.zeros((1, 5), np.int64)})
    model.run({"tokens": np.zeros((1, 9), np.int64), "lengths": [5]})
    with pytest.warns(LongInputWarning, match="trained on at most 5"):
        model.run({"tokens": np.zeros((1, 6), np.int64)})
    model.run({"tokens": np.zeros((1, 7), np.int64)})
    done = run("run", path, "--text", "abcabcabc")
    assert done.exit_code == 0
    assert done.stderr.count("trained on at most 5") == 1
