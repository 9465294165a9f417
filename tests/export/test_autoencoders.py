"""Parity of autoencoders: family × part × shape × form, and what goes with it; streams of scores; parts that fit."""

import copy
import dataclasses
from functools import cache

import numpy as np
import onnx
import pytest
import torch
from edgeseq_export import Source, convert, grid, verify
from edgeseq_runtime import golden, load
from edgeseq_runtime.contract import GOLDEN_KEY
from edgeseq_runtime.draw import draw, draw_inputs, draw_states
from edgeseq_runtime.errors import ExportError, InputError, StreamError
from edgeseq_runtime.seal import seal
from edgeseq_runtime.signature import Signature, Tensor
from pairwise import crossed, pairwise

from edgeseq.data import Dataset
from edgeseq.nn import build, entry, with_settings
from edgeseq.nn.autoencoder_config import PARTS
from edgeseq.opening import source_of
from edgeseq.training.network import hints_for

CONTROL_FLOW = {"Scan", "Loop", "If"}

SIZES = {
    "image": (40, 8, 7),
    "colours": (40, 2, 6, 5),
    "window-1": (4, 30, 1),
    "window-3": (4, 25, 3),
    "series": (40, 7, 2),
}
"""Of the data by the shape of its examples; those of a recurrent network's series are of unequal length."""

WINDOWS = {"window-1": 5, "window-3": 6}
HOLD = {1: [1, 1], 3: [2, 3]}

COMMON = {
    "part": PARTS,
    "variational": [False, True],
    "loss": ["mse", "sigmoid", "bce"],
    "score": ["error", "last", "bound"],
    "hold": list(HOLD),
    "head": [False, True],
}
ARRAYS = {
    "family": ["ae", "convae"],
    "shape": list(SIZES),
    "layers": ["shallow", "deep", "tied"],
    **COMMON,
}
SEQUENCES = {
    "family": ["recae"],
    "shape": [*WINDOWS, "series"],
    "form": ["native", "loop", "unroll"],
    "cell": ["lstm", "gru"],
    "order": ["forwards", "reversed"],
    "layers": ["shallow", "deep"],
    **COMMON,
}
LAYERS = {
    ("ae", "shallow"): {},
    ("ae", "deep"): {"hidden_sizes": [9, 6], "decoder_sizes": [7], "activation": "tanh"},
    ("ae", "tied"): {"hidden_sizes": [9], "tied": True},
    ("convae", "shallow"): {"channels": [3], "kernel_size": 5},
    ("convae", "deep"): {"channels": [3, 4], "decoder_channels": [5, 3], "activation": "tanh"},
    ("convae", "tied"): {"channels": [3, 4], "tied": True},
    ("recae", "shallow"): {"hidden_size": 6},
    ("recae", "deep"): {"hidden_size": 5, "num_layers": 2},
}
LOSSES = {"mse": {}, "sigmoid": {"output": "sigmoid"}, "bce": {"loss": "bce", "output": "sigmoid"}}
SCORED = ("loss", "score", "hold")


def fitting(case):
    """The case without what means nothing in it, and with what is possible in place of what is not."""
    found, window = dict(case), case["shape"] in WINDOWS
    if case["part"] == "encoder":
        del found["loss"]
    else:
        del found["head"]
    if case["part"] != "score":
        del found["score"], found["hold"]
    elif (case["score"] == "last" and not window) or (case["score"] == "bound" and not case["variational"]):
        found["score"] = "error"
    if "hold" in found and not window:
        found["hold"] = 1
    if case["family"] == "ae" and case["layers"] == "tied":
        found["variational"] = False  # its code is two things of one matrix
    return found


def table():
    every = [
        *crossed(ARRAYS, ("family", "part", "shape", "layers")),
        *crossed(SEQUENCES, ("part", "shape", "form", "cell")),
    ]
    found = []
    for case in map(fitting, every):
        if case not in found:
            found.append(case)
    return [
        found[number] for number in np.random.default_rng(3).permutation(len(found))
    ]  # so that all sorts come first


GRID = table()
QUICK = set(
    pairwise([{name: case[name] for name in ("family", "part", "shape", "form") if name in case} for case in GRID])
)
"""The pairs of these occur in the quick tests; the other factors go along."""


def cases():
    for number, case in enumerate(GRID):
        marks = [] if number in QUICK else [pytest.mark.full]
        yield pytest.param(case, id="-".join(str(value) for value in case.values()), marks=marks)


def data(shape, ragged=False):
    """Noisy waves from 0 to 1, of two frequencies."""
    rng, size = np.random.default_rng(1), SIZES[shape]
    kinds = np.arange(size[0]) * 2 // size[0]
    each = (-1, *(1 for _ in size[1:]))
    place = np.arange(np.prod(size[1:])).reshape(size[1:])
    phase = rng.uniform(0, 6, size[0]).reshape(each) + (0.3 + 0.4 * kinds.reshape(each)) * place
    x = np.clip(0.5 + 0.4 * np.sin(phase) + 0.05 * rng.standard_normal(size), 0, 1).astype(np.float32)
    if shape not in WINDOWS and not ragged:
        return Dataset(x, kinds, labels=("slow", "fast"))
    lengths = rng.integers(size[1] // 2, size[1] + 1, size[0])
    lengths[0] = size[1]
    x[np.arange(size[1]) >= lengths[:, None]] = 0
    return Dataset(x, kinds, lengths, labels=("slow", "fast"))


def made(shape="image", family="ae", part="full", seed=3, **settings):
    """A network with random weights, and the threshold and head that follow from those."""
    found = data(shape, ragged=family == "recae")
    config = {"code_size": 3, "threshold_quantile": 0.47, **entry(family).network.sizes(found), **settings}
    if shape in WINDOWS:
        config["window"] = WINDOWS[shape]
    elif shape == "series" and family == "convae":
        config["dimensions"] = 1
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build(family, config, hints_for(found)).eval()
        for name, value in network.named_parameters():
            if "biases" in name:
                value.data.normal_()
            elif family in ("recae", "convae") and "bias" not in name:
                value.data.mul_(2.5)  # so that its answers hang on the input
    network.standardise(found)
    network.finish(network.examples(found), None)
    return with_settings(network, {"part": part})


def of_case(case):
    family = "vae" if case["family"] == "ae" and case["variational"] else case["family"]
    settings = {name: case[name] for name in ("cell", "order", "score", "variational") if name in case}
    settings |= LAYERS[case["family"], case["layers"]] | LOSSES[case.get("loss", "mse")]
    settings |= {"hold": HOLD[case.get("hold", 1)], "head_labels": 20 if case.get("head") else 0}
    network = made(case["shape"], family, case["part"], **settings)
    if case["part"] == "score":  # one that has learnt nothing finds a few examples all alike: its alarm would not move
        scores = answers(network, draw_inputs(network.signature(), {"batch": 40, "time": 20}, 0))["score"]
        network.threshold.fill_(float(np.median(scores[scores != 0])))
    return network


def file(network, part=None, form=None):
    """A file of a network, or of another of its parts."""
    return load(convert(source_of(network if part is None else with_settings(network, {"part": part})), form=form))


def answers(network, given):
    with torch.no_grad():
        found = network(**{name: torch.from_numpy(array) for name, array in given.items()})
    return {name: value.numpy() for name, value in found.items()}


def close(actual, expected, **tolerance):
    np.testing.assert_allclose(actual, expected, **{"rtol": 1e-4, "atol": 1e-5, **tolerance})


@pytest.mark.parametrize("case", list(cases()))
def test_proof_passes(case, operators):
    network = of_case(case)
    content = convert(source_of(network), form=case.get("form"))
    report = verify(content, source_of(network))
    assert report.passed, (report.problems, report.worst)
    model = load(content)
    assert model.verify().passed
    assert model.contract.settings["part"] == case["part"]
    assert set(model.values) == ({"threshold"} if case["part"] == "score" else set())
    assert bool(operators(content) & CONTROL_FLOW) is (case.get("form") == "loop")


@pytest.mark.parametrize("factors", [ARRAYS, SEQUENCES], ids=["arrays", "sequences"])
def test_table_has_every_part_of_every_network(factors):
    whole = [case for case in GRID if case["family"] in factors["family"]]
    quick = [case for number, case in enumerate(GRID) if number in QUICK and case in whole]
    for name in ("family", "shape", "layers", "form", "cell"):
        if name in factors:
            assert {(case["part"], case[name]) for case in whole} == {(p, v) for p in PARTS for v in factors[name]}
    for name in set(factors) - {"score", "hold"}:  # these are all among the networks that are streamed, below
        assert {case[name] for case in quick if name in case} == set(factors[name]), name
    assert {(case["family"], case["part"]) for case in quick} == {(f, p) for f in factors["family"] for p in PARTS}


STREAMED = {
    "ae": ("window-3", "ae", {**LAYERS["ae", "deep"]}),
    "vae": ("window-3", "vae", {"score": "bound", "hold": [2, 3]}),
    "convae": ("window-1", "convae", {**LAYERS["convae", "tied"], "score": "last", "hold": [1, 2]}),
    "bce": ("window-1", "convae", {**LAYERS["convae", "deep"], **LOSSES["bce"], "hold": [3, 4]}),
    "recae": ("window-3", "recae", {"hidden_size": 5, "hold": [2, 2]}),
    "recae in copies": ("window-1", "recae", {"hidden_size": 5, "cell": "gru", "variational": True, "form": "unroll"}),
}
"""Networks of windows by what is special about them: shape, family, and settings."""


@cache
def streamed(name):
    """A network that scores windows, its file's bytes, and two series of which the second has an anomaly."""
    shape, family, settings = STREAMED[name]
    form = settings.get("form")
    network = made(shape, family, "score", **{key: value for key, value in settings.items() if key != "form"})
    x = data(shape).x[:2].copy()
    x[1, 12:15] = 1.5 if settings.get("loss") != "bce" else 1 - x[1, 12:15]
    return network, convert(source_of(network), form=form), x


@pytest.mark.parametrize("name", STREAMED)
def test_a_stream_gives_the_scores_and_alarms_of_the_whole_series(name):
    network, content, x = streamed(name)
    model, expected = load(content), answers(network, {"x": x})
    whole = model.run(x)
    close(whole["score"], expected["score"])
    np.testing.assert_array_equal(whole["alarm"], expected["alarm"])
    assert 0 < whole["alarm"].mean() < 1
    first = network.config.window - 1
    assert (whole["score"][:, :first] == 0).all()
    assert (whole["alarm"][:, :first] == 0).all()
    assert (whole["score"][:, first:] != 0).all()
    for cuts in (range(1, x.shape[1]), [1, 6, 9, 16, 20], [network.config.window - 1]):
        stream = model.stream(2)
        pieces = [stream.run(piece) for piece in np.split(x, list(cuts), 1)]
        close(np.concatenate([piece["score"] for piece in pieces], 1), whole["score"])
        np.testing.assert_array_equal(np.concatenate([piece["alarm"] for piece in pieces], 1), whole["alarm"])
    stream = model.stream(2)
    steps = [stream.step(x[:, step]) for step in range(x.shape[1])]
    close(np.stack([step["score"] for step in steps], 1), whole["score"])
    np.testing.assert_array_equal(np.stack([step["alarm"] for step in steps], 1), whole["alarm"])


def by_hand(network, windows):
    """The score of each window by what part full rebuilds of it: windows (n, window, features)."""
    given, config = answers(with_settings(network, {"part": "full"}), {"x": windows}), network.config
    rebuilt = given["rebuilt"].astype(np.float64)
    if config.loss == "bce":
        errors = -(windows * np.log(rebuilt) + (1 - windows) * np.log(1 - rebuilt))
    else:
        errors = ((rebuilt - windows) / network.x_deviation.double().numpy()) ** 2
        errors = errors / 2 if config.variational else errors
    if config.score == "last":
        return errors[:, -1].mean(-1)
    total = errors.sum((1, 2))
    if config.score == "bound":
        mean, variance = given["code"].astype(np.float64), np.exp(given["log_variance"].astype(np.float64))
        total = total + ((mean**2 + variance - 1 - np.log(variance)) / 2).sum(1)
    return total / windows[0].size


@pytest.mark.parametrize("name", STREAMED)
def test_scores_are_those_of_windows_cut_by_hand(name):
    network, content, x = streamed(name)
    size, (needed, of) = network.config.window, network.config.hold
    found = load(content).run(x)
    for row, series in enumerate(x):
        windows = np.stack([series[end - size : end] for end in range(size, len(series) + 1)])
        scores = by_hand(network, windows)
        close(found["score"][row, size - 1 :], scores, rtol=1e-3)
        above = [False] * (size - 1) + [score > float(network.threshold) for score in scores]
        alarms = [sum(above[max(end - of, 0) : end]) >= needed for end in range(1, len(above) + 1)]
        assert found["alarm"][row].tolist() == alarms


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_sample_that_is_not_finite_leaves_the_state_as_it_was(bad):
    _, content, x = streamed("vae")
    model = load(content)
    stream, undisturbed = model.stream(2), model.stream(2)
    for part in np.split(x, [7, 11], 1):
        before, wrong = stream.state.arrays, part.copy()
        wrong[1, 1, 0] = bad
        for refused in (lambda wrong=wrong: stream.run(wrong), lambda wrong=wrong: stream.step(wrong[:, 1])):
            with pytest.raises(InputError, match="The state is as before"):
                refused()
        for key, array in stream.state.arrays.items():
            np.testing.assert_array_equal(array, before[key])
        one, other = stream.run(part), undisturbed.run(part)
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


@pytest.mark.parametrize("name", ["ae", "convae"])
def test_a_threshold_set_at_load_changes_the_alarms_alone(name):
    network, content, x = streamed(name)
    usual = load(content).run(x)
    threshold = float(np.quantile(usual["score"][:, network.config.window :], 0.8))
    other = load(content, values={"threshold": threshold})
    found = other.run(x)
    np.testing.assert_array_equal(found["score"], usual["score"])
    assert 0 < found["alarm"].sum() < usual["alarm"].sum()
    expected = answers(network, {"x": x, "threshold": np.array(threshold, np.float32)})
    np.testing.assert_array_equal(found["alarm"], expected["alarm"])
    stream = other.stream(2)
    np.testing.assert_array_equal(np.stack([stream.step(f)["alarm"] for f in x.swapaxes(0, 1)], 1), found["alarm"])
    before = network.config.window - 1  # there is no window yet, whatever the threshold
    assert (
        load(content, values={"threshold": -1.0}).run(x)["alarm"][:, : before + 1].tolist() == [[0] * before + [1]] * 2
    )


@pytest.fixture(scope="module")
def long():
    """A network that scores windows of 30 steps, of two features that are unlike, and its file's bytes."""
    rng = np.random.default_rng(2)
    x = (rng.standard_normal((4, 60, 2)).cumsum(1) * [1000, 0.1]).astype(np.float32)
    found = Dataset(x, np.zeros(4, np.int64), np.full(4, 60), labels=("one",))
    with torch.random.fork_rng():
        torch.manual_seed(3)
        config = {**entry("ae").network.sizes(found), "window": 30, "code_size": 8, "threshold_quantile": 0.9}
        network = build("ae", config, hints_for(found)).eval()
    network.standardise(found)
    network.finish(network.examples(found), None)
    network = with_settings(network, {"part": "score"})
    return network, convert(source_of(network))


def vectors(content):
    text = {p.key: p.value for p in onnx.load_from_string(content).metadata_props}[GOLDEN_KEY]
    return golden.unpack(text)[0]


def test_test_vectors_hold_full_windows(long):
    network, content = long
    assert load(content).verify().passed
    assert [(case.expected["score"].values > 0).mean() > 0.5 for case in vectors(content)] == [True] * 3
    blind = onnx.load_from_string(content)
    for tensor in blind.graph.initializer:
        if len(tensor.dims) == 2:
            zeros = np.zeros(tensor.dims, np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(zeros, tensor.name))
    assert not load(seal(blind.SerializeToString())).verify().passed
    for case in grid.cases(network.signature()):
        if case.chunk is not None or case.time > 30:
            assert (answers(network, case.inputs(network.signature(), 0))["score"] > 0).mean() > 0.3, case.name


def test_states_are_drawn_as_they_are_met(long):
    signature = with_settings(long[0], {"hold": [2, 4]}).signature()
    read = load(long[1]).signature
    assert [(s.input, s.range) for s in read.states] == [("past", None), ("seen", (0, 31))]
    drawn = draw_states(signature, {"batch": 200, "time": 1}, 0)
    assert drawn["seen"][0] == 30
    assert 0.4 < (drawn["seen"] == 30).mean() < 0.65
    assert set(np.unique(drawn["seen"])) == set(range(31))
    assert set(np.unique(drawn["recent"])) == {0, 1}
    with pytest.raises(InputError, match=r"'seen' has 31 at .* go from 0 to 30"):
        load(long[1]).run({"x": np.zeros((1, 1, 2), np.float32), "seen": np.array([[31]])})


def test_noise_is_of_each_feature_and_scores_lie_around_the_threshold(long):
    network, _ = long
    for level in (0.01, 0.1):
        network = copy.deepcopy(network)
        network.threshold.fill_(level)
        deviation = network.signature().inputs[0].draw["deviation"]
        np.testing.assert_allclose(deviation, 2 * level**0.5 * network.x_deviation.numpy(), 1e-5)
    assert deviation[0] > 1000 * deviation[1]
    flat = Tensor("x", "float32", ("batch", "time", 2), draw={"examples": [[0.0, 0.0] * 9], "deviation": [100.0, 1.0]})
    noise = draw(flat, {"batch": 50, "time": 9}, np.random.default_rng(0)).std((0, 1))
    assert 50 < noise[0] / noise[1] < 200


class Late(torch.nn.Module):
    """Zero for 30 steps, and then what it is given."""

    def forward(self, x):
        """x: (batch, time)."""
        return {"y": torch.where(torch.arange(x.shape[1]) < 30, 0.0, x)}


def test_test_vectors_that_prove_nothing_are_refused():
    x, y = Tensor("x", "float32", ("batch", "time")), Tensor("y", "float32", ("batch", "time"), "step")
    late = Source(Late(), Signature((x,), (y,)), "custom", "custom", "late")
    with pytest.raises(ExportError, match=r"'y' of late is one number in .* \(1×20, 2×20, 1×3: .* not in 3×60"):
        convert(late)
    content = convert(dataclasses.replace(late, signature=Signature((x,), (y,), typical={"time": 40})))
    assert [case.name for case in vectors(content)] == ["1×40", "2×40", "1×3"]


def test_a_score_that_is_no_number_is_an_alarm():
    network, content, x = streamed("ae")
    x = x.copy()
    x[1, 14] = 3e38
    found = load(content).run(x)
    lost = np.isnan(found["score"])
    assert lost.any()
    assert not lost[0].any()
    assert found["alarm"][lost].all()
    np.testing.assert_array_equal(found["alarm"], answers(network, {"x": x})["alarm"])
    found = answers(made("image", part="score"), {"x": np.full((1, 8, 7), 3e38, np.float32)})
    assert np.isnan(found["score"])
    assert found["alarm"].tolist() == [1]


def test_cross_entropy_of_outputs_that_are_sure_is_as_in_pytorch():
    network = made("series", "ae", "score", **LOSSES["bce"])
    network.decoder[0].weight.data.zero_()
    given = {"x": np.repeat(np.array([0, 1, 0.5], np.float32), 14).reshape(3, 7, 2)}
    for level in (5.0, 17.0, 25.0, 120.0):  # a pixel that is always black is told with certainty
        network.decoder[0].bias.data.copy_(torch.linspace(-level, level / 2, 14))
        close(file(network).run(given)["score"], answers(network, given)["score"])


def test_only_the_score_of_windows_streams():
    for shape, part in (("window-1", "full"), ("window-1", "encoder"), ("window-1", "decoder"), ("image", "score")):
        assert not made(shape, part=part).signature().streamable
    with pytest.raises(StreamError, match="--part score of windows streams"):
        file(made("image", part="score")).stream()


CHAINED = {
    "tied": ("image", "ae", LAYERS["ae", "tied"]),
    "vae": ("colours", "vae", LOSSES["bce"]),
    "convae": ("window-3", "convae", LAYERS["convae", "deep"]),
    "recae": ("series", "recae", {"hidden_size": 5}),
}


@pytest.mark.parametrize("name", CHAINED)
def test_a_decoder_of_an_encoder_is_the_whole(name):
    shape, family, settings = CHAINED[name]
    network = made(shape, family, **settings)
    found = network.examples(data(shape, ragged=family == "recae")).rows(np.arange(6))
    ragged = found.lengths is not None
    given = {"x": found.x, "lengths": found.lengths} if ragged else {"x": found.x}
    whole, coded = file(network).run(given), file(network, "encoder").run(given)
    close(coded["code"], whole["code"])
    code = {"noise" if network.config.variational else "code": coded["code"]}
    rebuilt = file(network, "decoder").run({**code, "steps": found.lengths} if ragged else code)["rebuilt"]
    assert rebuilt.std(0).max() > 1e-3
    close(rebuilt, whole["rebuilt"])
    if ragged:
        assert (rebuilt[np.arange(rebuilt.shape[1]) >= found.lengths[:, None]] == 0).all()


@pytest.mark.parametrize(("shape", "family"), [("colours", "convae"), ("series", "recae")])
def test_the_same_noise_gives_the_same_picture(shape, family):
    network = made(shape, family, "decoder", variational=True, **LOSSES["bce"])
    given = {"noise": np.random.default_rng(5).standard_normal((16, 3)).astype(np.float32)}
    if family == "recae":
        given["steps"] = np.arange(16) % 7 + 1
    model = file(network)
    pictures = model.run(given)["rebuilt"]
    close(pictures, answers(network, given)["rebuilt"])
    np.testing.assert_array_equal(pictures, model.run(given)["rebuilt"])
    assert pictures.std(0).max() > 1e-2
    with pytest.raises(InputError, match="takes 3"):
        model.run({**given, "noise": np.zeros((16, 4), np.float32)})
    for steps in (0, 8) if family == "recae" else ():
        with pytest.raises(InputError, match="from 1 to 7"):
            model.run({**given, "steps": np.full(16, steps)})


@pytest.mark.parametrize(("shape", "family"), [("image", "ae"), ("image", "convae"), ("window-3", "convae")])
def test_tied_weights_are_in_the_file_once(shape, family):
    tied = made(shape, family, **LAYERS[family, "tied"])
    graph = onnx.load_from_string(convert(source_of(tied))).graph
    constants = [a.t for node in graph.node for a in node.attribute if a.HasField("t")]
    tensors = [t for t in (*graph.initializer, *constants) if t.data_type == onnx.TensorProto.FLOAT]
    held = sum(int(np.prod(tensor.dims)) for tensor in tensors)
    statistics = tied.x_mean.numel() + tied.x_deviation.numel()
    assert tied.weight_count <= held <= tied.weight_count + 2 * statistics
    assert sum(p.numel() for p in tied.parameters()) == tied.weight_count


@pytest.mark.parametrize(
    ("part", "form"), [("full", "native"), ("encoder", "native"), ("score", "native"), ("full", "unroll")]
)
def test_a_row_alone_is_as_beside_longer_ones(part, form):
    network = made("series", "recae", part, hidden_size=5, head_labels=20)
    found, model = data("series", ragged=True), file(network, form=form)
    rows = np.array([0, *np.flatnonzero(found.lengths < 6)[:3]])
    together = model.run({"x": found.x[rows], "lengths": found.lengths[rows]})
    for place, row in enumerate(rows):
        length = found.lengths[row]
        alone = model.run(found.x[row : row + 1, :length])
        for name, array in alone.items():
            beside = together[name][place : place + 1]
            close(array, beside[:, :length] if name == "rebuilt" else beside)
    noisy = found.x[rows].copy()
    noisy[np.arange(7) >= found.lengths[rows][:, None]] = 9.0
    for name, array in model.run({"x": noisy, "lengths": found.lengths[rows]}).items():
        close(array, together[name])
