"""The examples of embedding the runtime: each does what its first lines promise."""

import importlib.util
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from edgeseq_runtime import load

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
MODEL = ROOT / "models" / "gru-gesture" / "gru.onnx"
VOWELS = ROOT / "models" / "lstm-vowels" / "lstm.onnx"


def example(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def frames(count, features=1, seed=0):
    return np.random.default_rng(seed).standard_normal((count, features)).astype(np.float32)


def answers(x, model=MODEL):
    stream = load(model).stream()
    return [stream.step(frame) for frame in x]


def first(answer):
    return next(iter(answer.values()))


@pytest.fixture
def live_filter():
    command = [sys.executable, str(EXAMPLES / "live_filter.py"), str(VOWELS)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, text=True, bufsize=1, **pipes) as process:
        yield process
        process.kill()


def test_the_filter_answers_each_line_before_the_next(live_filter):
    x = frames(5, 12)
    for frame, expected in zip(x, answers(x, VOWELS), strict=True):
        live_filter.stdin.write(",".join(map(str, frame)) + "\n")
        live_filter.stdin.flush()
        given = np.array(live_filter.stdout.readline().split(","), float)
        np.testing.assert_allclose(given, first(expected), rtol=1e-4, atol=1e-5)


def test_the_filter_answers_a_bad_line_with_error_and_keeps_its_state(live_filter):
    x = frames(2, 12)
    lines = [" ".join(map(str, frame)) for frame in x]
    bad = ["1,2,3", "nonsense", "nan," * 11 + "nan", ""]
    out, told = live_filter.communicate("\n".join([lines[0], *bad, lines[1]]) + "\n", timeout=60)
    assert live_filter.returncode == 0
    assert out.split("\n")[1:5] == ["error"] * 4
    assert [line.split(":")[0] for line in told.splitlines() if line.startswith("line")] == [
        f"line {n}" for n in range(2, 6)
    ]
    given = np.array(out.split("\n")[5].split(","), float)
    np.testing.assert_allclose(given, first(answers(x, VOWELS)[1]), rtol=1e-4, atol=1e-5)


def test_the_filter_ends_quietly_when_nobody_reads(live_filter):
    live_filter.stdout.close()
    line = ",".join(["0"] * 12) + "\n"
    try:
        for _ in range(1000):
            live_filter.stdin.write(line)
    except BrokenPipeError:
        pass
    assert live_filter.wait(60) == 0
    assert live_filter.stderr.read() == ""


def test_the_sensor_thread_steps_its_own_stream():
    x, module = frames(20), example("sensor_thread")
    done = threading.Event()
    samples = iter([*x[:10], np.full(1, np.nan, np.float32), *x[10:]])

    def read_next():
        frame = next(samples, None)
        if frame is None:
            done.set()
            return np.full(1, np.nan, np.float32)
        return frame

    sensor = module.SensorThread(load(MODEL), read_next, period_s=0.001)
    sensor.start()
    assert done.wait(30)
    sensor.stop()
    assert not sensor.is_alive()
    assert sensor.steps == 20
    assert sensor.refused >= 2
    np.testing.assert_array_equal(first(sensor.latest), first(answers(x)[-1]))


def test_the_sensor_thread_keeps_its_pace_and_counts_what_is_late():
    module = example("sensor_thread")

    def slow():
        time.sleep(0.02)
        return np.zeros(1, np.float32)

    sensor = module.SensorThread(load(MODEL), slow, period_s=0.001)
    begun = time.monotonic()
    sensor.start()
    time.sleep(0.2)
    sensor.stop()
    assert 0 < sensor.steps <= (time.monotonic() - begun) / 0.02
    assert sensor.late >= sensor.steps - 1


def test_the_sensor_example_runs():
    command = [sys.executable, str(EXAMPLES / "sensor_thread.py"), str(MODEL)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.count("\n") == 4
    assert " 0 refused" in result.stdout


@pytest.fixture(scope="module")
def client():
    from starlette.testclient import TestClient

    with TestClient(example("web_service").application(load(MODEL))) as found:
        yield found


def test_each_connection_has_a_stream_of_its_own(client):
    one, other = frames(6, seed=1), frames(6, seed=2)
    with client.websocket_connect("/stream") as first_socket, client.websocket_connect("/stream") as second_socket:
        for a, b, of_a, of_b in zip(one, other, answers(one), answers(other), strict=True):
            first_socket.send_text(json.dumps(a.tolist()))
            second_socket.send_text(json.dumps(b.tolist()))
            for socket, expected in ((first_socket, of_a), (second_socket, of_b)):
                given = socket.receive_json()
                assert list(given) == list(expected)
                np.testing.assert_array_equal(np.float32(first(given)), first(expected))


def test_a_step_that_cannot_be_used_is_answered_and_changes_nothing(client):
    x = frames(2)
    bad = ["[1, 2]", "nonsense", "{}", "[NaN]", "[null]", '["a"]', "[1e999]", f"[{10**400}]", "[" * 100_000]
    with client.websocket_connect("/stream") as socket:
        for text in (json.dumps(x[0].tolist()), *bad, json.dumps(x[1].tolist())):
            socket.send_text(text)
        given = [socket.receive_json() for _ in range(len(bad) + 2)]
    assert [list(each) for each in given[1:-1]] == [["error"]] * len(bad)
    np.testing.assert_array_equal(np.float32(first(given[-1])), first(answers(x)[-1]))


def test_health_proves_the_file(client):
    response = client.get("/health")
    assert response.status_code == 200
    assert response.json() == {"model": "gru.onnx", "passed": True}


def test_the_service_is_loaded_from_the_environment(monkeypatch):
    monkeypatch.setenv("EDGESEQ_MODEL", str(MODEL))
    assert {route.path for route in example("web_service").app.routes} == {"/stream", "/health"}
