"""The character language model: what it draws, that its text goes on, and what its files write."""

import json
from dataclasses import replace
from pathlib import Path

import edgeseq_runtime
import numpy as np
import pytest
import torch
from edgeseq_export.ops.drawing import draw
from edgeseq_runtime.errors import UsageError

from edgeseq.cli import app
from edgeseq.data import text
from edgeseq.data.text import Document
from edgeseq.nn import build
from edgeseq.nn.charlm import CharLM, CharLMConfig
from edgeseq.opening import open_source

FOLDER = Path(__file__).parents[2] / "models" / "charlm-docs"
SYMBOLS = 11


def network(cell="lstm", **settings):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        config = {"cell": cell, "output_size": SYMBOLS, "embedding_size": 4, "hidden_size": 6, **settings}
        made = build("charlm", config).eval().requires_grad_(False)
        for weight in made.parameters():
            weight.mul_(4)
    return made


def drawn(rows, noise, temperature=1.0, top_k=0):
    """`draw` for rows of the same logits. noise: (rows,)."""
    columns = (torch.full((len(noise), 1), temperature, dtype=rows.dtype), torch.full((len(noise), 1), top_k))
    return draw(rows.expand(len(noise), -1), noise[:, None], *columns)[0][:, 0]


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, 0), (0.5, 0), (2.0, 4), (1.0, 100)])
def test_symbols_are_drawn_as_often_as_the_softmax_says(temperature, top_k):
    logits = torch.randn(SYMBOLS, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = torch.softmax(logits / temperature, -1)
    if top_k == 4:
        expected = torch.where(expected >= expected.sort().values[-4], expected, 0)
    noise = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    counts = torch.bincount(drawn(logits, noise, temperature, top_k), minlength=SYMBOLS)
    torch.testing.assert_close(counts.double() / 20_000, expected / expected.sum(), atol=2e-4, rtol=0)


@pytest.mark.parametrize(
    ("settings", "expected"), [({"temperature": 0.0}, {2}), ({"top_k": 1}, {2}), ({"top_k": 2}, {2, 0})]
)
def test_cold_or_few_leave_the_likeliest(settings, expected):
    logits = torch.tensor([1.0, 0.5, 1.5, -1.0])
    assert set(drawn(logits, torch.linspace(0, 1, 101), **settings).tolist()) == expected


@pytest.mark.parametrize("noise", [0.0, 1 - 2**-24, 1.0])
def test_noise_at_the_ends_draws_what_is_allowed(noise):
    logits = torch.randn(500, 30, generator=torch.Generator().manual_seed(2))
    columns = (torch.full((500, 1), noise), torch.ones(500, 1), torch.full((500, 1), 3))
    allowed = logits.topk(3).indices
    assert (draw(logits, *columns)[0] == allowed).any(-1).all()


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_a_text_goes_on_from_its_states_and_last_symbol(cell):
    net = network(cell)
    tokens, noise = torch.randint(0, SYMBOLS, (3, 5)), torch.rand(3, 12)
    lengths = torch.tensor([5, 2, 4])
    whole = net(tokens, lengths, noise)
    pieces, states = [], {}
    for piece in (noise[:, :1], noise[:, 1:5], noise[:, 5:]):
        outputs = net(tokens, lengths, piece, **states)
        pieces.append(outputs["generated"])
        tokens, lengths = outputs["generated"][:, -1:], None
        states = {pair.input: outputs[pair.output] for pair in net.signature().states}
    assert torch.equal(torch.cat(pieces, 1), whole["generated"])
    for pair in net.signature().states:
        torch.testing.assert_close(outputs[pair.output], whole[pair.output])


def test_what_is_drawn_is_what_the_logits_of_the_whole_text_say():
    net = network()
    tokens, noise = torch.randint(0, SYMBOLS, (4, 7)), torch.rand(4, 20)
    generated = net(tokens, noise=noise)["generated"]
    logits = net(torch.cat([tokens, generated], 1))["logits"][:, 6:-1]
    for step in range(20):
        forced, _ = draw(
            logits[:, step], noise[:, step : step + 1], torch.ones(4, 1), torch.zeros(4, 1, dtype=torch.int64)
        )
        assert torch.equal(forced, generated[:, step : step + 1])


def test_bits_are_the_loss_in_base_two_over_valid_steps():
    net = network()
    x, y, lengths = torch.randint(0, SYMBOLS, (2, 9)), torch.randint(0, SYMBOLS, (2, 9)), torch.tensor([9, 4])
    batch = {"x": x, "y": y, "lengths": lengths}
    figures = net.metrics(net(**net.inputs(batch)), batch)
    right = torch.softmax(net(x)["logits"], -1).gather(-1, y[..., None])[..., 0]
    expected = -torch.cat([right[0], right[1, :4]]).log2().mean()
    torch.testing.assert_close(figures["bits"], expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cell": "elman"}, "cell"),
        ({"embedding_dropout": 1.0}, "embedding_dropout is 1.0, but"),
        ({"num_layers": 0}, "num_layers is 0"),
        ({"cell": "gru", "forget_bias": 1.0}, "which has no forget gate"),
    ],
)
def test_a_config_that_cannot_be_is_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        CharLMConfig(output_size=SYMBOLS, **settings)


def test_the_vocabulary_is_the_datas():
    train, _, _ = text.datasets(*([Document("abcabcabc" * 10, 0)] for _ in range(3)))
    assert CharLM.sizes(train) == {"output_size": 5, "task": "classify"}


def test_data_that_is_no_text_is_refused():
    train, _, _ = text.datasets(*([Document("abcabcabc" * 10, 0)] for _ in range(3)))
    others = (
        replace(train, vocabulary=None),
        replace(train, y=train.y[:, 0]),
        replace(train, labels=("no", "yes", "perhaps", "never", "once")),
    )
    for data in others:
        with pytest.raises(UsageError, match="learns from text"):
            CharLM.sizes(data)


@pytest.fixture(scope="module")
def source():
    return open_source(FOLDER / "charlm.pt")


@pytest.fixture(scope="module")
def model():
    return edgeseq_runtime.load(FOLDER / "charlm.onnx")


def test_the_file_draws_what_pytorch_draws_teacher_forced_and_free(model, source):
    """50 symbols for each of 16 beginnings of the test part: free, and by the logits of the text that PyTorch wrote."""
    sample = np.load(FOLDER / "sample.npz")
    tokens = np.concatenate([sample["tokens"][:, start : start + 20] for start in (0, 60)])
    noise = np.random.default_rng(11).random((len(tokens), 50)).astype(np.float32)
    with torch.no_grad():
        truth = source.module.double()(torch.from_numpy(tokens), None, torch.from_numpy(noise).double())
    clear = (truth["generated_margin"] > 1e-5).all(1).numpy()  # of others, float32 cannot tell what comes out
    assert clear.sum() >= len(tokens) / 2
    generated = truth["generated"].numpy()
    written = model.run({"tokens": tokens, "noise": noise})["generated"]
    assert np.array_equal(written[clear], generated[clear])
    whole = model.run({"tokens": np.concatenate([tokens, generated], 1), "noise": noise[:, :1]})["logits"]
    logits = torch.from_numpy(whole[:, tokens.shape[1] - 1 : -1]).flatten(0, 1)
    columns = (torch.ones(len(logits), 1), torch.zeros(len(logits), 1, dtype=torch.int64))
    forced, _ = draw(logits, torch.from_numpy(noise).reshape(-1, 1), *columns)
    assert np.array_equal(forced.reshape(generated.shape).numpy()[clear], generated[clear])


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        app.run(["run", str(FOLDER / "charlm.onnx"), *arguments])
    out = capsys.readouterr()
    return ended.value.code, out.out, out.err


def test_a_text_is_printed_with_how_it_goes_on(capsys):
    prompt = 'The "for" statement'
    code, out, _ = run(capsys, "--text", prompt, "--set", "length=200", "--seed", "7")
    assert code == 0
    assert out.startswith(prompt)
    assert 150 < len(out) - len(prompt) <= 201  # what stands between documents is not shown
    assert run(capsys, "--text", prompt, "--set", "length=200", "--seed", "7")[1] == out
    assert run(capsys, "--text", prompt, "--set", "length=200", "--seed", "8")[1] != out
    assert run(capsys, "--text", prompt, "--set", "length=90", "--seed", "7")[1].rstrip("\n") in out


def test_several_texts_as_json_with_values_set(capsys):
    arguments = ("--text", "The ", "--text", "A √", "--set", "temperature=0", "--set", "length=30", "--json")
    code, out, _ = run(capsys, *arguments)
    results = json.loads(out)["results"]
    assert code == 0
    assert [result["text"] for result in results] == ["The ", "A √"]
    assert all(result["generated"] for result in results)
    assert json.loads(run(capsys, *arguments, "--seed", "5")[1])["results"] == results


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "npz"])
def test_what_was_written_goes_into_files(suffix, capsys, tmp_path):
    path = tmp_path / f"out.{suffix}"
    code, out, err = run(capsys, "--text", "The ", "--set", "length=20", "-o", str(path))
    assert (code, err) == (0, "")
    assert "1 sequences" in out
    if suffix == "npz":
        assert np.load(path)["generated"].shape == (1, 20)
    else:
        assert "The " in path.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--text", "a", "--set", "lenght=3"), "has no 'lenght'; what can be set is temperature, top_k, length"),
        (("--text", "a", "--set", "length=0"), "length is 0, but a whole number from 1 is expected"),
        (("--text", "a", "--set", "temperature=warm"), "'warm' is no finite number"),
        (("--text", "a", "--set", "temperature"), "write NAME=VALUE"),
        (("--text", "a", "--set", "top_k=1.5"), "a whole number is expected"),
        (("--text", "a", "--input", "x.npz"), "stands without --input"),
        (("--text", "a", "--stream"), "stands without --input, --stream and --chunk"),
    ],
)
def test_what_cannot_be_set_is_told_in_words(arguments, message, capsys):
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert message in err
