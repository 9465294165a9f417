"""The crnn family: a line reads the same beside longer ones as alone, and its file reads what it reads."""

import numpy as np
import pytest
import torch
from edgeseq_export import Source, export
from edgeseq_runtime import load
from edgeseq_runtime.errors import UsageError

from edgeseq.data import Dataset
from edgeseq.files import Answers
from edgeseq.nn import build
from edgeseq.nn.crnn import Crnn
from edgeseq.nn.ctc import PADDING

SMALL = {"input_size": 7, "output_size": 3, "channels": [3, 4], "hidden_size": 5}
VARIANTS = {
    "lstm": {},
    "two gru layers, frames of two": {"cell": "gru", "num_layers": 2, "reduce": 2},
    "forward relu rnn, frames of one": {
        **{"cell": "rnn", "nonlinearity": "relu", "bidirectional": False, "reduce": 1, "batch_norm": False}
    },
    "wide kernels, three convolutions": {"kernel_size": 5, "channels": [2, 3, 4], "reduce": 8},
}


def make(**config):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build("crnn", {**SMALL, **config})
        for block in network.blocks:
            if config.get("batch_norm", True):
                block.norm.running_mean.normal_(0, 0.3)
                block.norm.running_var.uniform_(0.5, 2)
                block.norm.bias.data.normal_(0, 0.5)
        network.head.weight.data.mul_(8)
        network.head.bias.data[-1] -= 2  # so that fresh weights read more than blanks
        network.x_mean.fill_(0.2)
        network.x_deviation.fill_(1.5)
    return network.eval()


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS.keys())
def network(request):
    return make(**request.param)


def lines(*lengths, height=7):
    x = torch.randn(len(lengths), max(lengths), height, generator=torch.Generator().manual_seed(4))
    return x, torch.tensor(lengths)


def test_a_batch_equals_its_rows_one_by_one(network):
    x, lengths = lines(37, 1, 2, 9, 20, 36)
    together = network(x, lengths)
    assert together["label_lengths"].sum() > 0
    for row, length in enumerate(lengths.tolist()):
        alone = network(x[row : row + 1, :length], lengths[row : row + 1])
        frames = -(-length // network.config.reduce)
        assert alone["logits"].shape == (1, frames, 4)
        torch.testing.assert_close(together["logits"][row, :frames], alone["logits"][0], rtol=1e-4, atol=1e-5)
        assert together["labels"][row, :frames].equal(alone["labels"][0])
        assert (together["labels"][row, frames:] == PADDING).all()
        assert together["label_lengths"][row] == alone["label_lengths"][0]


def test_what_lies_behind_a_line_changes_nothing(network):
    x, lengths = lines(30, 11)
    other = x.clone()
    other[1, 11:] = 100.0
    frames = -(-11 // network.config.reduce)
    one, two = network(x, lengths), network(other, lengths)
    assert one["logits"][1, :frames].equal(two["logits"][1, :frames])
    assert one["labels"].equal(two["labels"])


@pytest.mark.parametrize(("form", "lengths"), [("native", [20, 1, 33]), ("native", [1]), ("unroll", [14, 20, 3])])
def test_file_reads_what_the_network_reads(form, lengths, tmp_path):
    network = make(num_layers=2)
    source = Source(network, network.signature(), network.family, network.task, "test")
    export(source, tmp_path / "crnn.onnx", form=form, steps=24 if form == "unroll" else None, verify=False)
    x, sizes = lines(*lengths)
    outputs = load(tmp_path / "crnn.onnx").run({"x": x.numpy(), "lengths": sizes.numpy()})
    expected = network(x, sizes)
    torch.testing.assert_close(torch.from_numpy(outputs["logits"]), expected["logits"].detach(), rtol=1e-4, atol=1e-5)
    for name in ("labels", "label_lengths"):
        assert torch.from_numpy(outputs[name]).equal(expected[name])


@pytest.mark.parametrize(("names", "text"), [("abc", "ccabc"), (("one", "two", "three"), "three three one two three")])
def test_run_prints_what_was_read(names, text, tmp_path):
    network = make()
    source = Source(network, network.signature(), network.family, network.task, "test", labels=tuple(names))
    export(source, tmp_path / "crnn.onnx", verify=False)
    answers = Answers(load(tmp_path / "crnn.onnx"))
    read = np.array([2, 2, 0, 1, 2, -1, -1])
    assert (answers.output, answers.columns(7), answers.cells(read)) == ("labels", ("labels",), (text,))
    assert answers.fields(read) == {"labels": [names[number] for number in (2, 2, 0, 1, 2)]}
    assert answers.cells(np.array([-1, -1])) == ("",)


def test_metrics_of_known_transcripts():
    outputs = {
        "labels": torch.tensor([[0, 1, 2, -1], [1, 1, -1, -1], [-1, -1, -1, -1]]),
        "label_lengths": torch.tensor([3, 2, 0]),
    }
    batch = {"y": torch.tensor([[0, 1, 2], [1, 2, 0], [2, 0, 0]]), "y_lengths": torch.tensor([3, 2, 1])}
    metrics = make().metrics(outputs, batch)
    assert {name: float(value) for name, value in metrics.items()} == {
        **{"sequence_accuracy": pytest.approx(1 / 3), "edits": pytest.approx((0 + 1 + 1) / 3)},
        "symbols": pytest.approx((3 + 2 + 1) / 3),
    }


def test_learns_to_read():
    """Lines of bars at three heights, each followed by paper."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = build("crnn", SMALL).train()
    optimiser = torch.optim.AdamW(network.parameters(), 0.02)
    for _ in range(100):
        batch = bars(generator, 8)
        outputs = network(**network.inputs(batch))
        optimiser.zero_grad()
        network.loss(outputs, batch).backward()
        optimiser.step()
    batch = bars(generator, 50)
    metrics = network.eval().metrics(network(**network.inputs(batch)), batch)
    assert metrics["sequence_accuracy"] > 0.9
    assert metrics["edits"] <= metrics["symbols"] * (1 - metrics["sequence_accuracy"])


def bars(generator, count):
    y = torch.randint(0, 3, (count, 3), generator=generator)
    y_lengths = torch.randint(1, 4, (count,), generator=generator)
    x = torch.zeros(count, 24, 7)
    for row in range(count):
        for position in range(int(y_lengths[row])):
            top = 2 * int(y[row, position])
            x[row, 8 * position : 8 * position + 5, top : top + 3] = 1.0
    return {"x": x, "y": y, "lengths": 8 * y_lengths, "y_lengths": y_lengths}


def written(lengths, y_lengths, shape=(2, 12, 7)):
    y = np.zeros((2, 5), np.int64)
    return Dataset(np.zeros(shape, np.float32), y, lengths, tuple("abc"), y_lengths=np.array(y_lengths))


def test_lines_of_more_labels_than_frames_are_refused():
    network = make()  # four steps a frame
    network.standardise(written(np.array([12, 9]), [4, 3]))
    with pytest.raises(UsageError, match="lines have up to 12 steps, and reduce = 4"):
        network.standardise(written(np.array([12, 8]), [4, 3]))


@pytest.mark.parametrize(("lengths", "shape"), [(np.array([12, 8]), (2, 12, 7, 1)), (None, (2, 12, 7))])
def test_what_is_no_line_is_refused(lengths, shape):
    with pytest.raises(UsageError, match=r"takes lines \(n, time, height\), but x has shape"):
        Crnn.sizes(written(lengths, [4, 3], shape))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"channels": []}, "channels is"),
        ({"kernel_size": 4}, "kernel_size is 4, but it must be odd"),
        ({"reduce": 8}, "reduce is 8, but 2 convolutions halve the width at most to a 4th; add channels"),
        ({"reduce": 3}, "reduce"),
        ({"hidden_size": 0}, "hidden_size is 0"),
    ],
)
def test_refused_configs(config, message):
    with pytest.raises(UsageError, match=message):
        build("crnn", {**SMALL, **config})
