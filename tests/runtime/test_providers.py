"""Which execution provider: named or measured, kept for the next time, and told where it cannot be used.

A second provider is the CPU's behind the same interface, made slower or made to fail where the file is opened.
"""

import json
import pickle
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from edgeseq_runtime import Model, auto, cache, load
from edgeseq_runtime._ort.probe import obstacle
from edgeseq_runtime._ort.session import Session, available_providers
from edgeseq_runtime.capture import CPU as CPU_NAME
from edgeseq_runtime.capture import CUDA as CUDA_NAME
from edgeseq_runtime.errors import InputError, ProviderError, UnsupportedFileError, UsageError
from edgeseq_runtime.measure import race
from edgeseq_runtime.providers import CPU, ExecutionProvider, candidates, cuda

SECOND = ExecutionProvider("second", CPU_NAME)
ABSENT = ExecutionProvider("absent", "NoSuchExecutionProvider")


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """The folder of kept choices, an empty one."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / auto.KIND


class Opener:
    """Opens a file on a provider; what it does there depends on the provider's name.

    delays: seconds a run takes longer; refuses: where it does not open; fails: where it does not run.
    """

    def __init__(self, path, delays=(), refuses=(), fails=()):
        self.path, self.delays, self.refuses, self.fails = path, dict(delays), refuses, fails
        self.opened = []

    def __call__(self, one):
        if one.name in self.refuses:
            raise ProviderError(f"{one.name} is out of memory")
        self.opened.append(one.name)
        model = Model(self.path, provider=one)
        run, name = model.run, one.name

        def changed(inputs):
            if name in self.fails:
                raise InputError(f"{name} has no such kernel")
            time.sleep(self.delays.get(name, 0))
            return run(inputs)

        model.run = changed
        return model


@pytest.mark.parametrize(
    ("providers", "changes", "name", "measured", "reason", "files"),
    [
        (
            [CPU, SECOND],
            {"delays": {"second": 0.004}},
            "cpu",
            {"cpu", "second"},
            "fastest of cpu, second at batch 1 × time 6$",
            1,
        ),
        ([CPU, SECOND], {"delays": {"cpu": 0.004}}, "second", {"cpu", "second"}, "fastest of second, cpu at", 1),
        ([CPU], {}, "cpu", set(), "the only one here", 0),
        (
            [CPU, ABSENT],
            {},
            "cpu",
            set(),
            "only one that can be used here; left out is absent: onnxruntime .* has only",
            0,
        ),
        ([CPU, SECOND], {"refuses": ["second"]}, "cpu", set(), "left out is second: second is out of memory", 0),
        ([CPU, SECOND], {"refuses": ["cpu"]}, "second", set(), "left out is cpu: cpu is out of memory", 0),
        ([CPU, SECOND], {"fails": ["second"]}, "cpu", set(), "left out is second: second has no such kernel", 0),
        (
            [CPU, SECOND],
            {"fails": ["cpu", "second"]},
            "cpu",
            set(),
            "cpu, since nothing could be measured .cpu has no",
            0,
        ),
    ],
)
def test_auto_takes_the_fastest_that_runs(models, kept, providers, changes, name, measured, reason, files):
    choice = auto.fastest(providers, Opener(models / "lstm.onnx", **changes)).provider
    assert (choice.name, set(choice.figures_us)) == (name, measured)
    assert re.match(f"auto: .*{reason}", choice.reason), choice.reason
    assert len(list(kept.glob("*"))) == files


def test_nothing_that_can_be_used_is_an_error(models, kept):
    with pytest.raises(
        ProviderError, match=r"no execution provider can be used here: absent: .*; cpu: cpu is out of memory"
    ):
        auto.fastest([CPU, ABSENT], Opener(models / "lstm.onnx", refuses=["cpu"]))


def test_a_choice_is_kept_and_then_nothing_else_is_opened(models, kept):
    slow = {"delays": {"cpu": 0.004}}
    first = auto.fastest([CPU, SECOND], Opener(models / "lstm.onnx", **slow))
    again = Opener(models / "lstm.onnx")  # as fast as each other now, so that measuring anew would show
    second = auto.fastest([CPU, SECOND], again)
    assert again.opened == ["cpu", "second"]
    assert (second.provider.name, second.provider.figures_us) == ("second", first.provider.figures_us)
    assert second.provider.reason == f"{first.provider.reason}, as measured earlier"
    gone = auto.fastest([CPU, SECOND], Opener(models / "lstm.onnx", refuses=["second"]))
    assert (gone.provider.name, gone.provider.dropped) == ("cpu", {"second": "second is out of memory"})


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: "",
        lambda text: "[]",
        lambda text: text.replace("lstm", "").replace('"cpu": ', '"gpu": '),
        lambda text: text.replace('"second"', '"third"'),
        lambda text: json.dumps({**json.loads(text), "value": {"name": "second", "figures_us": "fast"}}),
        lambda text: json.dumps({**json.loads(text), "value": 3}),
        lambda text: "\0\udcff",
        lambda text: "[" * 100_000,
        lambda text: text.replace('"name": "second"', '"name": ["second"]'),
        lambda text: json.dumps(
            {**json.loads(text), "value": {"name": "cpu", "figures_us": {"cpu": -1.0, "second": 2.0}}}
        ),
    ],
)
def test_a_damaged_choice_is_measured_anew(models, kept, damage):
    auto.fastest([CPU, SECOND], Opener(models / "lstm.onnx", delays={"cpu": 0.004}))
    (file,) = kept.glob("*.json")
    file.write_text(damage(file.read_text()), errors="surrogateescape")
    choice = auto.fastest([CPU, SECOND], Opener(models / "lstm.onnx", delays={"second": 0.004})).provider
    assert choice.name == "cpu"
    assert "earlier" not in choice.reason
    assert json.loads(file.read_bytes())["value"]["name"] == "cpu"


@pytest.mark.parametrize(
    ("sizes", "expected", "stepped"),
    [
        (None, {"batch": 1, "time": 8}, False),
        ({"time": 100, "batch": 32}, {"batch": 32, "time": 128}, False),
        ({"time": 129, "batch": 3}, {"batch": 4, "time": 256}, False),
        ({"time": 1}, {"batch": 1, "time": 1}, True),
        ({"width": 9}, {"batch": 1, "time": 8}, False),
    ],
)
def test_a_choice_is_kept_by_shape_class(models, kept, sizes, expected, stepped):
    choice = auto.fastest([CPU, SECOND], Opener(models / "lstm.onnx"), sizes).provider
    (file,) = kept.glob("*.json")
    key = json.loads(file.read_bytes())["key"]
    assert (key["sizes"], key["stepped"]) == (expected, stepped)
    assert ("a step of a stream" in choice.reason) == stepped


@pytest.mark.parametrize("place", ["", "file/inside", "/proc/nowhere"])
def test_a_folder_that_cannot_be_written_is_no_error(models, tmp_path, monkeypatch, place):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(cache.VARIABLE, place)
    opener = Opener(models / "lstm.onnx", delays={"second": 0.004})
    assert auto.fastest([CPU, SECOND], opener).provider.name == "cpu"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_many_writers_and_readers_of_one_key(kept):
    def turn(number):
        cache.remember("k", {"a": 1}, {"n": number, "long": "x" * 10_000})
        return cache.recall("k", {"a": 1})

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(turn, range(40)))
    assert all(len(value["long"]) == 10_000 for value in found)
    assert len(list((kept.parent / "k").iterdir())) == 1


@pytest.mark.parametrize(
    ("environment", "platform", "expected"),
    [
        ({"HOME": "/h"}, "linux", "/h/.cache/edgeseq"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "/x"}, "linux", "/x/edgeseq"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "x"}, "linux", "/h/.cache/edgeseq"),  # a relative one does not count
        ({"HOME": "/h"}, "darwin", "/h/Library/Caches/edgeseq"),
        ({"LOCALAPPDATA": "/l", "USERPROFILE": "/u"}, "win32", "/l/edgeseq"),
        ({"USERPROFILE": "/u"}, "win32", "/u/AppData/Local/edgeseq"),
        ({"HOME": "/h", "EDGESEQ_CACHE": "/mine"}, "linux", "/mine"),
        ({"HOME": "/h", "EDGESEQ_CACHE": ""}, "linux", "None"),
        ({}, "linux", "None"),
    ],
)
def test_the_cache_is_where_the_system_has_caches(environment, platform, expected):
    assert str(cache.folder(environment, platform)) == expected


@pytest.mark.parametrize(
    ("times_ms", "order", "calls"),
    [
        ({"a": 1, "b": 1.4}, ["a", "b"], {"a": 100, "b": 80}),  # near each other: all ten rounds
        ({"a": 2, "b": 1}, ["b", "a"], {"a": 15, "b": 30}),  # clearly slower: three rounds
        ({"a": 750, "b": 5}, ["b", "a"], {"a": 1, "b": 2}),  # hopeless: one call
        ({"a": 30, "b": 1, "c": 1.2}, ["b", "c", "a"], {"a": 1, "b": 100, "c": 90}),
        ({"a": 900, "b": 800}, ["b", "a"], {"a": 3, "b": 3}),  # near, and long
    ],
)
def test_a_race_lasts_no_longer_than_it_takes_to_tell(times_ms, order, calls):
    now, made = 0, dict.fromkeys(times_ms, 0)

    def call(name):
        nonlocal now
        made[name] += 1
        now += int(times_ms[name] * 1e6)

    figures = race({name: lambda name=name: call(name) for name in times_ms}, clock=lambda: now)
    assert list(figures) == order
    assert figures == pytest.approx({name: ms * 1000 for name, ms in times_ms.items()})
    assert made == calls


def test_load_measures_a_list_and_a_pickle_keeps_the_choice(models, kept):
    model = load(models / "gru.onnx", provider=[CPU, SECOND], sizes={"time": 1})
    assert set(model.provider.figures_us) == {"cpu", "second"}
    assert pickle.loads(pickle.dumps(model)).provider == model.provider
    assert model.stream().step(np.ones(2))["values"].shape == (2,)


def test_auto_alone_measures_and_keeps_nothing(models, kept):
    if len(candidates("auto")) > 1:
        pytest.skip("this onnxruntime has more than one execution provider")
    provider = load(models / "lstm.onnx").provider
    assert (provider.name, provider.reason, provider.figures_us) == (
        "cpu",
        "auto: the CPU, which is there on every device",
        {},
    )
    assert not kept.parent.exists()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"provider": []}, UsageError, r"a list of \[\], but at least one is expected"),
        ({"provider": [CPU, CPU]}, UsageError, "each name once"),
        (
            {"provider": ABSENT},
            ProviderError,
            "'absent' was asked for, but onnxruntime here has only .* Install an onnx",
        ),
        ({"sizes": {"time": 0}}, UsageError, "each is a whole number from 1"),
        ({"sizes": {"time": 1.5}}, UsageError, "each is a whole number from 1"),
        ({"sizes": {"time": "3"}}, UsageError, "each is a whole number from 1"),
    ],
)
def test_what_load_refuses(models, arguments, error, message):
    with pytest.raises(error, match=message):
        load(models / "lstm.onnx", **arguments)


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ({}, {"device_id": 0, "use_tf32": 0}),
        ({"tf32": True}, {"device_id": 0, "use_tf32": 1}),
        ({"memory_limit": 2**30, "device": 1}, {"device_id": 1, "use_tf32": 0, "gpu_mem_limit": 2**30}),
    ],
)
def test_options_of_cuda(arguments, options):
    assert cuda(**arguments).onnxruntime_list == [(CUDA_NAME, options), (CPU_NAME, {})]


@pytest.mark.parametrize(
    "wrong",
    [
        *({"memory_limit": limit} for limit in (0, True, 1.5, "2GB")),
        *({"device": device} for device in (-1, "0", 0.0)),
    ],
)
def test_wrong_options_of_cuda(wrong):
    with pytest.raises(UsageError, match="is expected"):
        cuda(**wrong)


def test_runs_are_not_captured_behind_the_back():
    with pytest.raises(UsageError, match=r"would freeze inputs; use cuda\(graphs=True\)"):
        ExecutionProvider("cuda", CUDA_NAME, {"enable_cuda_graph": 1})


def test_a_device_is_timed_when_it_is_warm(models, kept):
    """Its first call loads libraries, and its third captures: neither is what later calls take."""
    slow = iter((0.15, 0, 0.05))
    opener = Opener(models / "lstm.onnx", delays={"cpu": 0.004})

    def opened(one):
        model = opener(one)
        if one.name == "second":
            run = model.run
            model.run = lambda inputs: (time.sleep(next(slow, 0)), run(inputs))[1]
            model.provider = replace(model.provider, chosen=replace(SECOND, onnxruntime_name=CUDA_NAME))
        return model

    assert set(auto.fastest([CPU, SECOND], opened).provider.figures_us) == {"second", "cpu"}
    assert next(iter(auto.fastest([CPU, SECOND], opened).provider.figures_us)) == "second"


def test_what_one_cannot_open_another_may(models, kept):
    def opened(one):
        if one is CPU:
            raise UnsupportedFileError("no code for float16 here")
        return Model(models / "lstm.onnx", provider=one)

    chosen = auto.fastest([CPU, SECOND], opened).provider
    assert (chosen.name, chosen.dropped) == ("second", {"cpu": "no code for float16 here"})


def test_sizes_may_be_of_numpy(models, kept):
    assert load(models / "gru.onnx", provider=[CPU, SECOND], sizes={"time": np.int64(3)}).provider.figures_us


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_does_not_open_a_sound_file_is_to_blame_and_not_the_file(models):
    content = (models / "lstm.onnx").read_bytes()
    with pytest.raises(ProviderError, match=r"NoSuch.* was asked for, but does not open 'lstm.onnx'"):
        Session(content, "lstm.onnx", ABSENT.onnxruntime_list, threads=1)


def test_a_provider_that_comes_up_has_no_obstacle():
    assert obstacle(CPU_NAME, {}) is None
    if CUDA_NAME not in available_providers():
        remedy = obstacle(CUDA_NAME, {}).remedy  # right as well where both are installed, and one has lost its files
        assert "pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'onnxruntime-gpu" in remedy
