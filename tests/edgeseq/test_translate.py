"""Text in, text out on the command line: what a sequence-to-sequence file is given, and what is printed and written.

The files here follow the contract of such a model, and answer each letter by a phoneme of a table; their score is minus
the number of letters.
"""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeseq_export import Source, export
from edgeseq_runtime.signature import Limit, Signature
from edgeseq_runtime.signature import Tensor as TensorSpec
from torch import nn
from typer.testing import CliRunner

from edgeseq.cli.app import app
from edgeseq.files.batches import joined

MODELS = Path(__file__).parents[2] / "models"
LETTERS = ("a", "b", "c", "-")
PHONES = ("<pad>", "<s>", "</s>", "AH", "B", "K", "X")
END, LOUD = 2, 6
WORDS = {"symbols": list(LETTERS), "kind": "character", "split": True, "lower": True}
TEXTS = {"symbols": [*LETTERS, " "], "kind": "character"}
SPOKEN = {"symbols": list(PHONES), "kind": "word", "padding": 0, "start": 1, "end": END}


class Speaker(nn.Module):
    """a, b, c as AH, B, K; a hyphen ends a word early, a space is padding. hypotheses: how many; the second is loud."""

    def __init__(self, hypotheses=None):
        super().__init__()
        self.hypotheses = hypotheses
        self.register_buffer("table", torch.tensor([3, 4, 5, END, 0]))

    def forward(self, tokens, lengths):
        valid = torch.arange(tokens.shape[1]) < lengths[:, None]
        spoken = torch.where(valid, self.table[tokens], END)
        scores = -lengths.to(torch.float32)
        if self.hypotheses is None:
            return {"generated": spoken, "scores": scores}
        loud = torch.where(spoken > END, LOUD, spoken)
        return {"generated": torch.stack([spoken, loud], 1), "scores": torch.stack([scores, scores - 0.5], 1)}


class Chanced(Speaker):
    """A score that is chance."""

    def forward(self, tokens, lengths, noise):
        return {**super().forward(tokens, lengths), "scores": noise[:, 0]}


class Deaf(Speaker):
    """It takes no lengths."""

    def forward(self, tokens):
        return super().forward(tokens, torch.full_like(tokens[:, 0], 1) * tokens.shape[1])


class Forecaster(nn.Module):
    """Three times two values, the sum of the steps and one more each time; zeros from the number of steps less one on.

    ends: whether it says where these begin.
    """

    def __init__(self, ends):
        super().__init__()
        self.ends = ends

    def forward(self, x, lengths):
        made = (lengths - 1).clamp(0, 3)
        place = torch.arange(3)[:, None]
        values = torch.where(place < made[:, None, None], x.sum(1, keepdim=True) + place, 0.0)
        return {"values": values, "answer_length": made} if self.ends else {"values": values}


class Reciter(Forecaster):
    """The same of token ids."""

    def forward(self, tokens, lengths):
        return super().forward(tokens[..., None].repeat(1, 1, 2).to(torch.float32), lengths)


class Listener(nn.Module):
    """It reads no text: the nearest number of a sound, a step, is what was said."""

    hypotheses = None

    def forward(self, x):
        return {"generated": x[..., 0].round().to(torch.int64), "scores": x.sum((1, 2))}


TOKENS = TensorSpec("tokens", "int64", ("batch", "time"), range=(0, len(LETTERS)))
LENGTHS = TensorSpec("lengths", "int64", ("batch",), of="tokens")
NOISE = TensorSpec("noise", "float32", ("batch", 3), draw={"uniform": [0.0, 1.0]})
SOUND = TensorSpec("x", "float32", ("batch", "time", 1))


def written(path, vocabulary, module, *inputs, limits=None):
    """A file with that contract."""
    row = ("batch",) if module.hypotheses is None else ("batch", module.hypotheses)
    outputs = (
        TensorSpec("generated", "int64", (*row, "time"), "sequence"),
        TensorSpec("scores", "float32", row, "sequence"),
    )
    signature = Signature(inputs, outputs, limits=limits or {}, typical={"batch": 2, "time": 4})
    decoding = {"max_length": 3}
    source = Source(module.eval(), signature, "seq2seq", "transcribe", "test", vocabulary=vocabulary, decoding=decoding)
    export(source, path, verify=False)


def forecasting(path, module, *inputs, vocabulary=None):
    """A file that answers with values of a length of its own."""
    outputs = (
        TensorSpec("values", "float32", ("batch", 3, 2), "sequence"),
        TensorSpec("answer_length", "int64", ("batch",), "sequence"),
    )
    signature = Signature(inputs, outputs if module.ends else outputs[:1], typical={"batch": 2, "time": 4})
    source = Source(module.eval(), signature, "seq2seq", "forecast", "test", vocabulary=vocabulary)
    export(source, path, verify=False)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    words, spaced = {"tokens": WORDS, "generated": SPOKEN}, replace(TOKENS, range=(0, len(LETTERS) + 1))
    written(folder / "words.onnx", words, Speaker(), TOKENS, LENGTHS)
    written(folder / "beam.onnx", words, Speaker(2), TOKENS, LENGTHS)
    written(folder / "texts.onnx", {**words, "tokens": TEXTS}, Speaker(), spaced, LENGTHS)
    written(folder / "short.onnx", words, Speaker(), TOKENS, LENGTHS, limits={"time": Limit(1, 3)})
    written(folder / "chance.onnx", words, Chanced(), TOKENS, LENGTHS, NOISE)
    written(folder / "deaf.onnx", words, Deaf(), TOKENS)
    written(folder / "sound.onnx", {"generated": SPOKEN}, Listener(), SOUND)
    numbers = (replace(SOUND, axes=("batch", "time", 2)), replace(LENGTHS, of="x"))
    forecasting(folder / "values.onnx", Forecaster(ends=False), *numbers)
    forecasting(folder / "ended.onnx", Forecaster(ends=True), *numbers)
    by_word = {"tokens": {"symbols": list(LETTERS), "kind": "word"}}
    forecasting(folder / "recited.onnx", Reciter(ends=True), TOKENS, LENGTHS, vocabulary=by_word)
    return folder


def run(*arguments, stdin=None):
    return CliRunner().invoke(app, ["run", *map(str, arguments)], input=stdin, prog_name="edgeseq")


@pytest.mark.parametrize("name", ["words", "beam"])
@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (["--text", "Ab caba", "--text", "B", "--text", "a-b"], None),
        ([], "Ab caba\n\n B \r\na-b"),
        (["--input", "-"], "\ufeffAb  caba\nB\n   \na-b\n"),
        (["--input", "{folder}/given.txt"], None),
        (["--input", "{folder}/given.jsonl"], None),
        ([], '{"text": "Ab caba"}\n"B"\n[0, 3, 1]\n'),
    ],
)
def test_one_line_for_each_text(files, tmp_path, name, arguments, stdin):
    (tmp_path / "given.txt").write_text("Ab caba\nB\na-b\n")
    (tmp_path / "given.jsonl").write_text('"Ab caba"\n{"tokens": [1, 0], "lengths": 1}\n\n{"text": "a-b"}\n')
    result = run(files / f"{name}.onnx", *(item.format(folder=tmp_path) for item in arguments), stdin=stdin)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "AH B  K AH B AH\nB\nAH\n"


SPLIT = [
    {"sequence": "first", "text": "ab C", "generated": ["AH B", "K"], "score": [-2, -1]},
    {"sequence": 1, "text": "b", "generated": ["B"], "score": [-1]},
]
WHOLE = [
    {"sequence": "first", "text": "ab c", "generated": "AH B K", "score": -4},
    {"sequence": 1, "text": "b", "generated": "B", "score": -1},
]
BEAM = [
    {
        **SPLIT[0],
        "hypotheses": [
            [{"generated": "AH B", "score": -2}, {"generated": "X X", "score": -2.5}],
            [{"generated": "K", "score": -1}, {"generated": "X", "score": -1.5}],
        ],
    },
    {**SPLIT[1], "hypotheses": [[{"generated": "B", "score": -1}, {"generated": "X", "score": -1.5}]]},
]


@pytest.mark.parametrize(("name", "expected"), [("words", SPLIT), ("texts", WHOLE), ("beam", BEAM)])
def test_records_have_answers_as_the_vocabulary_cuts_them(files, tmp_path, name, expected):
    lines = json.dumps({"text": expected[0]["text"], "id": "first"}) + "\n[1]\n"
    result = run(files / f"{name}.onnx", "--json", stdin=lines)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["results"] == expected
    assert run(files / f"{name}.onnx", "-o", tmp_path / "out.jsonl", stdin=lines).exit_code == 0
    assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()] == expected


def test_the_table_has_text_answer_and_score(files, tmp_path):
    assert run(files / "beam.onnx", "--text", "ab c", "--text", "b", "-o", tmp_path / "out.csv").exit_code == 0
    with (tmp_path / "out.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["sequence", "text", "generated", "score"],
            ["0", "ab c", "AH B  K", "-2.0 -1.0"],
            ["1", "b", "B", "-1.0"],
        ]


def test_arrays_are_answered_as_words_one_a_row(files, tmp_path):
    np.savez(tmp_path / "x.npz", tokens=np.array([[0, 1, 2], [2, 0, 0]]), lengths=np.array([3, 1]))
    result = run(files / "words.onnx", "--input", tmp_path / "x.npz", "--json")
    assert json.loads(result.stdout)["results"] == [
        {"sequence": 0, "text": "abc", "generated": ["AH B K"], "score": [-3]},
        {"sequence": 1, "text": "c", "generated": ["K"], "score": [-1]},
    ]


UNKNOWN = "character 2 of the text, '3', is none of the 4 that the model knows"
EMPTY = "the text is empty, but the model reads at least one word"
SECOND, THIRD = "standard input, line 2", "standard input, line 3"
SHOWN = "b\N{REPLACEMENT CHARACTER}a"


@pytest.mark.parametrize(
    ("texts", "stdin", "text", "place", "reason"),
    [
        (["a", "b3", "c"], None, "b3", "text 2", UNKNOWN),
        (["a", "b c3", "c"], None, "b c3", "text 2", f"word 2, 'c3': {UNKNOWN}"),
        (["a", " ", "c"], None, " ", "text 2", EMPTY),
        ([], "a\n\nb3\nc\n", "b3", THIRD, UNKNOWN),
        ([], b"a\nb\xffa\nc\n", SHOWN, SECOND, "byte 2 is not UTF-8 text"),
        ([], '[0]\n""\n[2]\n', "", SECOND, EMPTY),
        ([], '[0]\n{"text": "b3"}\n[2]\n', "b3", SECOND, UNKNOWN),
        ([], "[0]\n[0, 4]\n[2]\n", None, SECOND, "input 'tokens' has 4 at (0, 1), but its values go from 0 to 3"),
        ([], "[0]\n[]\n[2]\n", None, SECOND, "'tokens' is empty, but at least one step is needed"),
        (["a", "b\udcff", "c"], None, "b?", "text 2", "the text is not UTF-8"),
        ([], '[0]\n"b\\ud800"\n[2]\n', "b?", SECOND, "the text is not UTF-8"),
        ([], '[0]\n{"tokens": [0], "lengths": 2}\n[2]\n', None, SECOND, "'lengths' has 2 in row 0"),
        ([], "[0]\n[1e30]\n[2]\n", None, SECOND, "'tokens' takes whole numbers (int64), but has 1e+30"),
        ([], '[0]\n{"text": 5}\n[2]\n', None, SECOND, "the key 'tokens' is missing"),
        ([], "[0]\n[1\n[2]\n", None, SECOND, "not JSON: "),
        ([], b"[0]\n[\xff]\n[2]\n", None, SECOND, "byte 2 is not UTF-8 text"),
    ],
)
def test_a_bad_text_does_not_lose_the_others(files, tmp_path, texts, stdin, text, place, reason):
    arguments = (files / "words.onnx", *(item for given in texts for item in ("--text", given)))
    result = run(*arguments, stdin=stdin)
    assert result.exit_code == 2
    assert result.stdout == "AH\nerror\nK\n"
    assert result.stderr.startswith(f"edgeseq: {place}: {reason}")
    assert result.stderr.endswith("\nedgeseq: 1 of 3 sequences could not be used\n")
    assert result.stderr.count("\n") == 2
    result = run(*arguments, "--json", stdin=stdin)
    assert result.exit_code == 2
    first, bad, last = json.loads(result.stdout)["results"]
    assert (first["generated"], last["generated"]) == (["AH"], ["K"])
    assert bad.pop("error").startswith(reason)
    assert bad == {"sequence": 1, **({} if text is None else {"text": text})}
    assert run(*arguments, "-o", tmp_path / "out.csv", stdin=stdin).exit_code == 2
    with (tmp_path / "out.csv").open(newline="") as file:
        assert list(csv.reader(file))[2] == ["1", text or "", "error", ""]


def test_a_bad_line_keeps_its_id(files):
    result = run(files / "words.onnx", "--json", stdin='{"id": "x", "text": "3"}\n{"id": "y", "tokens": [9]}\n')
    assert result.exit_code == 2
    assert [record["sequence"] for record in json.loads(result.stdout)["results"]] == ["x", "y"]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "npz", "npy"])
def test_a_bad_text_alone_is_answered_too(files, tmp_path, suffix):
    result = run(files / "beam.onnx", "--text", "3", "-o", tmp_path / f"out.{suffix}")
    assert result.exit_code == 2
    assert "edgeseq: text 1: character 1 of the text, '3', is none of the 4" in result.stderr
    assert "edgeseq: 1 of 1 sequences could not be used" in result.stderr
    if suffix in ("csv", "jsonl"):
        assert "error" in (tmp_path / f"out.{suffix}").read_text()
    else:
        arrays = np.load(tmp_path / f"out.{suffix}")
        assert len(arrays if suffix == "npy" else arrays["generated"]) == 0


def test_an_archive_says_whose_its_rows_are(files, tmp_path):
    given = [argument for text in ("ab c", "3", "b") for argument in ("--text", text)]
    assert run(files / "words.onnx", *given, "-o", tmp_path / "out.npz").exit_code == 2
    with np.load(tmp_path / "out.npz") as archive:
        assert archive["sequence"].tolist() == [0, 0, 2]
        assert archive["generated"].tolist() == [[3, 4], [5, END], [4, END]]
        assert archive["lengths"].tolist() == [2, 1, 1]
    assert run(files / "words.onnx", "--text", "ab", "--text", "c", "-o", tmp_path / "out.npz").exit_code == 0
    with np.load(tmp_path / "out.npz") as archive:
        assert "sequence" not in archive.files


def test_a_text_that_is_too_long_does_not_lose_the_others(files):
    result = run(files / "short.onnx", stdin="a\nabab\nabc b\n")
    assert result.exit_code == 2
    assert result.stdout == "AH\nerror\nAH B K  B\n"
    assert "line 2: input 'tokens' has 4 along 'time', but short.onnx takes at most 3" in result.stderr


def test_what_is_drawn_is_drawn_for_every_word(files):
    def scores(*arguments):
        result = run(files / "chance.onnx", "--json", *arguments, stdin="ab c\n3\nb\n")
        return [record.get("score") for record in json.loads(result.stdout)["results"]]

    (first, second), bad, (third,) = found = scores("--seed", "3")
    assert len({first, second, third}) == 3
    assert bad is None
    assert scores("--seed", "3") == found
    assert scores("--seed", "4") != found


def test_a_model_without_lengths_takes_texts_of_one_length(files):
    assert run(files / "deaf.onnx", stdin="ab ca\nbb\n").stdout == "AH B  K AH\nB B\n"
    result = run(files / "deaf.onnx", stdin="ab\nab c\nc\nbb")
    assert (result.exit_code, result.stdout) == (2, "AH B\nerror\nerror\nB B\n")
    reason = "'tokens' has 1 along 'time', but what was read before has 2, and deaf.onnx takes no lengths of it"
    assert f"standard input, line 2: {reason}" in result.stderr
    assert f"standard input, line 3: {reason}" in result.stderr


def test_more_texts_than_a_batch_keep_their_order(files):
    words = ["".join(LETTERS[digit] for digit in divmod(number, 3)) for number in range(9)] * 20
    spoken = [" ".join(PHONES[3 + LETTERS.index(letter)] for letter in word) for word in words]
    expected = ["error" if number % 50 == 7 else answer for number, answer in enumerate(spoken)]
    lines = ["?" if number % 50 == 7 else word for number, word in enumerate(words)]
    result = run(files / "words.onnx", stdin="\n".join(lines))
    assert result.stdout.splitlines() == expected
    assert "4 of 180 sequences could not be used" in result.stderr


def test_batches_of_other_lengths_are_filled_up():
    parts = [
        {"generated": np.array([[3, 4, 2]]), "scores": np.array([1.0])},
        {"generated": np.array([[5], [6]]), "scores": np.array([2.0, 3.0])},
    ]
    whole = joined(parts, {"generated": 9})
    assert whole["generated"].tolist() == [[3, 4, 2], [5, 9, 9], [6, 9, 9]]
    assert whole["scores"].tolist() == [1, 2, 3]


def test_what_is_heard_is_printed_without_a_text(files, tmp_path):
    lines = "[[3.1],[4.0]]\n[[5],[2]]\n"
    assert run(files / "sound.onnx", stdin=lines).stdout == "AH B\nK\n"
    assert run(files / "sound.onnx", "-o", tmp_path / "out.csv", stdin=lines).exit_code == 0
    assert (tmp_path / "out.csv").read_text() == "sequence,generated,score\n0,AH B,7.1\n1,K,7.0\n"


STEPS = "[[1,2],[0,1],[0,0]]\n[[5,6]]\n[[1]]\n"
ALL = [[[1, 3], [2, 4], [0, 0]], [[0, 0], [0, 0], [0, 0]]]
UNTIL_THE_END = [[[1, 3], [2, 4]], []]


@pytest.mark.parametrize(("model", "expected"), [("values", ALL), ("ended", UNTIL_THE_END)])
def test_a_forecast_of_its_own_length_has_a_row_a_step(files, tmp_path, model, expected):
    result = run(files / f"{model}.onnx", "--json", stdin=STEPS)
    assert result.exit_code == 2
    *answered, refused = json.loads(result.stdout)["results"]
    assert answered == [{"sequence": number, "values": values} for number, values in enumerate(expected)]
    assert (refused["sequence"], "input 'x' has 1 features" in refused["error"]) == (2, True)
    assert run(files / f"{model}.onnx", "-o", tmp_path / "out.csv", stdin=STEPS).exit_code == 2
    rows = [(n, step, *map(float, pair)) for n, values in enumerate(expected) for step, pair in enumerate(values)]
    table = ["sequence,step,values_0,values_1", *(",".join(map(str, row)) for row in rows), "2,,error,"]
    assert (tmp_path / "out.csv").read_text().splitlines() == table


def test_values_of_a_text_are_no_labels_of_its_words(files):
    result = run(files / "recited.onnx", stdin="b c a\nd\nc\n")
    assert result.stdout.splitlines() == [
        "sequence\tstep\tvalues_0\tvalues_1",
        *("0\t0\t3.0\t3.0", "0\t1\t4.0\t4.0"),
        "1\t\terror\t",
    ]


@pytest.mark.parametrize(
    ("given", "setting", "message"),
    [
        (
            2,
            [],
            "input 'noise' has 2 numbers a row, but chance.onnx takes 3, one for each step that",
        ),
        (3, [], None),
        (None, ["--set", "length=2"], "has no 'length'; there is nothing to set. Its answers have at most 3 steps"),
        (None, ["--set", "loudness=2"], "has no 'loudness'; there is nothing to set\n"),
    ],
)
def test_chance_of_a_length_that_the_file_has_fixed(files, tmp_path, given, setting, message):
    noise = {} if given is None else {"noise": np.zeros((1, given), np.float32)}
    np.savez(tmp_path / "x.npz", tokens=np.array([[0, 1]]), **noise)
    result = run(files / "chance.onnx", "--input", tmp_path / "x.npz", *setting)
    assert result.exit_code == (0 if message is None else 2)
    assert (message or "") in result.stderr


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        ("sound", ["--input", "{folder}/x.txt"], "x.txt' holds text. That is for a model with a vocabulary"),
        ("words", ["--input", "tokens={folder}/x.txt"], "and without a name"),
        ("words", ["--input", "{folder}/x.txt", "--input", "lengths={folder}/l.npy"], "as its only --input"),
        ("words", ["--input", "{folder}/none.txt"], "none.txt' does not exist"),
        ("words", ["--input", "{folder}/x.md"], "give a file that ends in .npy, .npz, .csv, .jsonl, .txt, .wav"),
        ("sound", ["--input", "{folder}/x.md"], "give a file that ends in .npy, .npz, .csv, .jsonl, .wav\n"),
        (
            "words",
            ["--input", "{folder}/blank.txt"],
            "blank.txt' has no lines; one sequence or text a line",
        ),
        ("words", ["--input", "{folder}/x.txt", "-o", "{folder}/x.txt"], "no known format"),
        ("sound", ["--text", "a"], "sound.onnx has no vocabulary, so it reads no text"),
    ],
)
def test_text_that_has_no_place(files, tmp_path, model, arguments, message):
    (tmp_path / "x.txt").write_text("a\n")
    (tmp_path / "blank.txt").write_text("\n \n")
    result = run(files / f"{model}.onnx", *(item.format(folder=tmp_path) for item in arguments))
    assert result.exit_code == 2
    assert message in result.stderr


CHARLM, TAGGER = MODELS / "charlm-docs/charlm.onnx", MODELS / "birnn-tags/tagger.onnx"


@pytest.mark.parametrize("as_json", [(), ("--json",)])
@pytest.mark.parametrize(
    ("model", "texts", "settings"),
    [
        (CHARLM, ["The for ", "A class"], ("--set", "length=12", "--seed", "5")),
        (CHARLM, [" x"], ("--set", "length=12")),
        (TAGGER, ["Bugün hava çok güzel .", "Ev"], ()),
    ],
)
def test_lines_are_what_texts_are(model, texts, settings, as_json):
    given = [argument for text in texts for argument in ("--text", text)]
    expected = run(model, *given, *settings, *as_json)
    assert expected.exit_code == 0
    for stdin in ("\n\n".join(texts), "\n".join(json.dumps({"text": text}) for text in texts)):
        result = run(model, *settings, *as_json, stdin=stdin)
        assert (result.exit_code, result.stdout) == (0, expected.stdout)


def test_a_tagger_tells_what_it_cannot_read(tmp_path):
    lines = '{"text": "Ev güzel"}\n{"words": [2], "characters": [[2, 3, 4, 5]]}\n""\n{"words": [2]}\n'
    result = run(TAGGER, stdin=lines)
    assert result.exit_code == 2
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert [row[:3] for row in rows[1:4]] == [["0", "0", "Ev"], ["0", "1", "güzel"], ["1", "0", "."]]
    assert rows[4:] == [["2", "", "", "error", ""], ["3", "", "", "error", ""]]
    alone = run(TAGGER, "--text", "", stdin="")
    assert alone.stdout == "sequence\tstep\tword\tlabel\tprobability\n0\t\t\terror\t\n"
    assert alone.exit_code == 2
