"""Buffers on a device, tried with the CPU as that device; and what may be captured as a CUDA graph."""

import gc
import threading
import weakref
from types import SimpleNamespace

import numpy as np
import onnxruntime as ort
import pytest
from edgeseq_runtime import load
from edgeseq_runtime._ort.assignment import assignment, places, record
from edgeseq_runtime._ort.memory import DeviceMemory
from edgeseq_runtime.capture import CPU, CUDA, Capture, decide
from edgeseq_runtime.errors import InputError
from edgeseq_runtime.feed import Feed
from edgeseq_runtime.foreign_stream import ForeignStream
from edgeseq_runtime.layout import Laid
from edgeseq_runtime.replay import REPEATS, Replayed
from edgeseq_runtime.stream import Stream
from foreign_models import FEATURES, STYLES

from edgeseq.placement import described, lines

CAPTURED, PLAIN = Capture(True, "in a test"), Capture(False, "in a test")
HERE = ("cpu", 0)


class Frozen(DeviceMemory):
    """What a captured graph does to an input that is read on the host: the value that it had then, for ever."""

    def bind(self, inputs, outputs, changing, kept):
        held = {name: array.copy() if name in changing else array for name, array in inputs.items()}
        return super().bind(held, outputs, changing, kept)


def on_device(model, batch=1, capture=PLAIN, kind=DeviceMemory, **options):
    memory = kind(model._session._session, HERE, capture, **options)
    session = model._runner if isinstance(model._runner, Laid) else model._session
    return Stream(model, session, model._runner, model._feed, batch, False, memory)


@pytest.fixture(scope="module")
def opened(models):
    return {name: load(models / f"{name}.onnx") for name in ("lstm", "gru", "tokens")}


def frames(name, batch, steps):
    rng = np.random.default_rng(3)
    if name == "tokens":
        return rng.integers(0, 5, (steps, batch))
    return rng.standard_normal((steps, batch, 3 if name == "lstm" else 2)).astype(np.float32)


def same(given, expected):
    assert given.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(given[name], array, err_msg=name)


@pytest.mark.parametrize(
    "options",
    [{}, {"read": {}}, {"capture": CAPTURED}],
    ids=["placed", "an onnxruntime that does not tell where inputs are read", "captured"],
)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", ["lstm", "gru", "tokens"])
def test_a_stream_on_a_device_has_the_bits_of_one_on_the_host(opened, name, batch, options):
    model = opened[name]
    host, device = model.stream(batch), on_device(model, batch, **options)
    taken = frames(name, batch, 8)
    for frame in taken[:3]:
        same(device.step(frame), host.step(frame))
    same(device.state.arrays, host.state.arrays)
    same(device.run(np.stack(taken[3:5], 1)), host.run(np.stack(taken[3:5], 1)))
    same(device.step(taken[5]), host.step(taken[5]))
    same(device.step(taken[6][:1], rows=[batch - 1]), host.step(taken[6][:1], rows=[batch - 1]))
    kept = host.state
    expected = host.step(taken[7])
    same(device.step(taken[7], out={key: np.zeros_like(array) for key, array in expected.items()}), expected)
    for stream in (host, device):
        stream.reset([0])
    same(device.state.arrays, host.state.arrays)
    for stream in (host, device):
        stream.restore(kept)
        stream.step(taken[7])
    same(device.state.arrays, host.state.arrays)


@pytest.mark.parametrize("place", ["host", "device"])
def test_a_stream_that_is_let_go_gives_its_buffers_back_at_once(opened, place):
    stream = opened["gru"].stream() if place == "host" else on_device(opened["gru"])
    buffers = weakref.ref(stream._direction)
    gc.disable()
    try:
        del stream
        assert buffers() is None
    finally:
        gc.enable()


def test_another_thread_replays_no_graph(opened):
    """onnxruntime has it for the thread that captured it; elsewhere runs are told to be ordinary ones."""
    bound, taken = on_device(opened["gru"], capture=CAPTURED)._direction._binding, []
    bound._session = SimpleNamespace(run_with_iobinding=lambda _, options: taken.append(options))
    bound.run()
    thread = threading.Thread(target=bound.run)
    thread.start()
    thread.join()
    assert taken == [bound._options, bound._ordinary]


def test_streams_on_a_device_share_nothing(opened):
    model = opened["gru"]
    first, second = on_device(model), on_device(model)
    first.step(np.ones(2))
    same(second.step(np.zeros(2)), model.stream().step(np.zeros(2)))


@pytest.mark.parametrize("capture", [PLAIN, CAPTURED], ids=["plain", "captured"])
@pytest.mark.parametrize("style", [name for name in STYLES if name != "in a subgraph"])
def test_files_of_other_exporters(style, capture):
    """All but the one that declares wrong sizes: of such a file nothing is bound, on no device."""
    model = load(STYLES[style].make(), values=STYLES[style].fixed)
    batch = 3 if STYLES[style].rows else 1
    host = model.stream(batch)
    assert not isinstance(host, ForeignStream)
    device = on_device(model, batch, capture)
    assert device.cuda_graphs == capture
    for frame in np.random.default_rng(0).standard_normal((4, batch, FEATURES)):
        frame = frame.astype(model.signature.inputs[0].dtype)
        same(device.step(frame), host.step(frame))
    same(device.state.arrays, host.state.arrays)


def test_states_are_not_copied_between_steps(opened):
    stream = on_device(opened["gru"])
    states = stream._direction.states["h0"], stream._other.states["h0"]
    for _ in range(4):
        stream.step(np.ones(2))
    assert not any(array.any() for array in states)  # the host's side of them, which nobody asked for
    assert stream.state.arrays["h0"].any()


def test_what_is_refused_leaves_the_states(opened):
    stream = on_device(opened["gru"])
    stream.step(np.ones(2))
    before = stream.state.arrays["h0"]
    with pytest.raises(InputError):
        stream.step(np.array([0, np.nan], np.float32))
    np.testing.assert_array_equal(stream.state.arrays["h0"], before)


def test_a_stream_whose_graph_freezes_an_input_goes_on_without(opened):
    stream = on_device(opened["gru"], capture=CAPTURED, kind=Frozen)
    assert not stream.cuda_graphs.used
    assert "freeze something" in stream.cuda_graphs.reason
    host = opened["gru"].stream()
    for frame in frames("gru", 1, 4):
        same(stream.step(frame), host.step(frame))


def test_a_captured_stream_starts_from_the_initial_states(opened):
    stream = on_device(opened["lstm"], 2, CAPTURED)
    assert stream.cuda_graphs == CAPTURED
    assert not any(array.any() for array in stream.state.arrays.values())


NODES = {CUDA: [("LSTM", "lstm"), ("Gemm", "head")]}
READ = {"x": "cuda", "h0": "cuda"}


@pytest.mark.parametrize(
    ("provider", "lengths", "assigned", "read", "reason"),
    [
        (CUDA, (), NODES, READ, None),
        (CPU, (), None, {}, "CPUExecutionProvider runs this"),
        ("OpenVINOExecutionProvider", (), NODES, READ, "OpenVINOExecutionProvider runs this"),
        (CUDA, ("lengths",), NODES, READ, "would freeze 'lengths'"),
        (CUDA, (), None, READ, "1.24 and newer"),
        (CUDA, (), {CUDA: [("Scan", "s")]}, READ, "control flow cannot be captured (node 's')"),
        (CUDA, (), {CUDA: [("Loop", "l")]}, READ, "node 'l'"),
        (CUDA, (), {CUDA: [("Gemm", "g")], CPU: [("If", "i")]}, READ, "node 'i'"),
        (CUDA, (), {**NODES, CPU: [("RNN", "relu")]}, READ, "cannot be captured: RNN 'relu'"),
        (CUDA, (), {CPU: [("Gather", str(n)) for n in range(5)]}, READ, "Gather '2' and 2 more"),
        (CUDA, (), NODES, {**READ, "h0": None}, "does not say on which device it reads h0"),
        (CUDA, (), NODES, {**READ, "h0": "cpu"}, "read on the host: h0"),
    ],
)
def test_when_a_cuda_graph_may_be_captured(provider, lengths, assigned, read, reason):
    capture = decide(provider, lengths, assigned, read)
    assert capture.used is (reason is None)
    assert reason is None or reason in capture.reason


@pytest.mark.parametrize(
    ("assigned", "first"),
    [
        (NODES, "nodes on the CPU: none of 2"),
        ({**NODES, CPU: [("RNN", "relu")]}, "nodes on the CPU: 1 of 3: RNN 'relu'"),
        (None, "nodes on the CPU: this onnxruntime does not say; 1.24 and newer do"),
    ],
)
def test_what_doctor_tells(assigned, first):
    assert described(CUDA, assigned, PLAIN) == (first, "CUDA graphs: not used: in a test")


def test_where_the_nodes_of_a_session_run(models):
    options = ort.SessionOptions()
    record(options)
    session = ort.InferenceSession(models / "gru.onnx", options, providers=[CPU])
    told = assignment(session)
    if told is None:
        pytest.skip(f"onnxruntime {ort.__version__} does not tell; 1.24 and newer do")
    assert told.keys() == {CPU}
    assert "GRU" in {op for op, _ in told[CPU]}
    assert places(session) == {"x": "cpu", "h0": "cpu"}


def test_an_onnxruntime_that_does_not_tell(models):
    class Older:
        """Before 1.23."""

        def get_inputs(self):
            return ort.InferenceSession(models / "gru.onnx", providers=[CPU]).get_inputs()

    assert assignment(Older()) is None
    assert places(Older()) == {"x": None, "h0": None}


def test_on_the_cpu_nothing_is_captured_and_nothing_told(opened):
    assert not opened["gru"].stream().cuda_graphs.used
    assert lines(opened["gru"]) == ()


def replaying(model, kind=DeviceMemory):
    return Replayed(model._session, (), kind(model._session._session, HERE, CAPTURED))


def whole(model, batch, time, seed=0):
    sequence = np.random.default_rng(seed).standard_normal((batch, time, 2)).astype(np.float32)
    feed: Feed = model._feed
    return feed.complete(sequence)


def test_shapes_that_come_back_are_replayed_with_the_same_bits(opened):
    model = opened["gru"]
    session, replay, names = model._session, replaying(model), model.signature.output_names
    shapes = [(1, 5)] * (REPEATS + 3) + [(2, 4)] * (REPEATS + 1) + [(1, 5), (3, 2), (1, 5)]
    for seed, (batch, time) in enumerate(shapes):
        feeds = whole(model, batch, time, seed)
        for given, expected in zip(replay.run_checked(names, feeds), session.run_checked(names, feeds), strict=True):
            np.testing.assert_array_equal(given, expected)
    assert len(replay._captured) == 2
    assert not replay.problem


def test_a_replay_that_freezes_an_input_is_given_up(opened):
    model = opened["gru"]
    replay, names = replaying(model, Frozen), model.signature.output_names
    for seed in range(REPEATS + 2):
        feeds = whole(model, 1, 5, seed)
        np.testing.assert_array_equal(replay.run_checked(names, feeds)[0], model._session.run_checked(names, feeds)[0])
    assert "freeze something" in replay.problem


def test_a_replay_that_fails_is_given_up_and_answered_all_the_same(opened, monkeypatch):
    def failing(*_):
        raise RuntimeError("CUDA failure 700")

    model = opened["gru"]
    replay, names = replaying(model), model.signature.output_names
    for seed in range(REPEATS + 2):
        feeds = whole(model, 1, 5, seed)
        if seed == REPEATS + 1:
            monkeypatch.setattr("edgeseq_runtime.replay._Captured.run", failing)
        np.testing.assert_array_equal(replay.run_checked(names, feeds)[0], model._session.run_checked(names, feeds)[0])
    assert "CUDA failure 700" in replay.problem


def test_threads_that_replay_do_not_mix(opened):
    model = opened["gru"]
    replay, names, wrong = replaying(model), model.signature.output_names, []

    def call(seed):
        feeds = whole(model, 1, 5, seed)
        expected = model._session.run_checked(names, feeds)[0]
        wrong.extend(1 for _ in range(50) if (replay.run_checked(names, feeds)[0] != expected).any())

    threads = [threading.Thread(target=call, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert replay._captured
