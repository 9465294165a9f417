"""How many threads: what was asked for, or what measures fastest."""

import pickle

import numpy as np
import pytest
from edgeseq_runtime import load, threads
from edgeseq_runtime.errors import InputError, UsageError
from edgeseq_runtime.measure import Latency


@pytest.mark.parametrize(
    ("cores", "expected"), [(1, []), (2, [2]), (3, [2, 3]), (4, [2, 4]), (6, [2, 4, 6]), (16, [2, 4, 8, 16])]
)
def test_candidates_double_up_to_the_cores(cores, expected):
    assert threads.candidates(cores) == expected


@pytest.mark.parametrize(
    ("cores", "speed", "count", "measured", "reason"),
    [
        (1, {}, 1, [], "auto: there is one core"),
        (4, {1: 100, 2: 60, 4: 30}, 4, [1, 2, 4], "auto: fastest of 1, 2, 4 at batch 1 × time 6"),
        (4, {1: 100, 2: 60, 4: 80}, 2, [1, 2, 4], "auto: fastest of 1, 2, 4"),
        (8, {1: 100, 2: 97}, 1, [1, 2], "auto: fastest of 1, 2 at"),  # a gain that is noise; 4 and 8 are not tried
    ],
)
def test_auto_takes_what_is_fastest(models, monkeypatch, cores, speed, count, measured, reason):
    def measure(calls, seconds):
        taken = {name: speed[call.__closure__[0].cell_contents] for name, call in calls.items()}
        return {name: Latency(10, *[p50] * 6) for name, p50 in taken.items()}

    def model_call(model, sizes, stream):
        count = model.threads.count
        return lambda: count

    monkeypatch.setattr(threads, "usable_cores", lambda: cores)
    monkeypatch.setattr("edgeseq_runtime.measure.measure", measure)
    monkeypatch.setattr("edgeseq_runtime.measure.model_call", model_call)
    model = load(models / "lstm.onnx", threads="auto")
    assert (model.threads.count, list(model.threads.figures_us)) == (count, measured)
    assert model.threads.reason.startswith(reason)
    assert pickle.loads(pickle.dumps(model)).threads.count == count
    assert model.run(np.zeros((1, 2, 3)))["logits"].shape == (1, 3)


def test_auto_really_measures(models, monkeypatch):
    monkeypatch.setattr(threads, "usable_cores", lambda: 2)
    monkeypatch.setattr(threads, "SECONDS", 0.01)
    chosen = load(models / "lstm.onnx", threads="auto").threads
    assert chosen.count == (2 if chosen.figures_us[2] < threads.GAIN * chosen.figures_us[1] else 1)


def test_a_file_that_cannot_be_measured_has_one_thread(models, monkeypatch):
    def refused(*_):
        raise InputError("the rate is 0")

    monkeypatch.setattr(threads, "usable_cores", lambda: 2)
    monkeypatch.setattr("edgeseq_runtime.measure.measure", refused)
    chosen = load(models / "lstm.onnx", threads="auto").threads
    assert (chosen.count, chosen.reason[:7]) == (1, "auto: 1")
    assert "the rate is 0" in chosen.reason


@pytest.mark.parametrize("asked", [0, -1, "many", True, 2.0])
def test_other_numbers_are_refused(models, asked):
    with pytest.raises(UsageError, match=r"threads is .*, but"):
        load(models / "lstm.onnx", threads=asked)
