"""A thread that serves a sensor: it steps a stream at the sensor's pace, others read the last answer when they like.

python sensor_thread.py lstm.onnx

A stream has one owner, and here that is the thread. What leaves it are fresh arrays that it never writes again.
"""

import sys
import threading
import time
from collections.abc import Callable

import numpy as np
from edgeseq_runtime import Model, load
from edgeseq_runtime.errors import InputError


class SensorThread(threading.Thread):
    """Reads a frame each period, and keeps the answer to the last one.

    Args:
        model: a streamable model. It may be shared with other threads; the stream is not.
        read: gives the next frame, float32 (features,).
        period_s: seconds from one frame to the next.
    """

    def __init__(self, model: Model, read: Callable[[], np.ndarray], period_s: float) -> None:
        super().__init__(daemon=True)
        self._stream, self._read, self._period_s = model.stream(), read, period_s
        self._stopped = threading.Event()
        self.latest: dict[str, np.ndarray] = {}
        self.steps = self.refused = self.late = 0

    def run(self) -> None:
        """Step until `stop`; a frame that cannot be used (NaN, a wrong size) is counted, and the state is as before."""
        due = time.monotonic()
        while not self._stopped.wait(max(0.0, due - time.monotonic())):
            try:
                self.latest = self._stream.step(self._read())
                self.steps += 1
            except InputError:
                self.refused += 1
            due += self._period_s
            if due < time.monotonic():  # too slow for this pace: go on from now, do not run after what is lost
                self.late += 1
                due = time.monotonic()

    def stop(self) -> None:
        """End after the step that is under way."""
        self._stopped.set()
        self.join()


def main(path: str) -> None:
    """Serve a made-up sensor for a second and a half, and look at the answer a few times."""
    model = load(path)
    taken = model.signature.inputs[0]  # axes: (batch, time, features), or of token ids (batch, time)
    random = np.random.default_rng(0)
    sensor = SensorThread(model, lambda: random.random(taken.axes[2:]).astype(taken.dtype), period_s=0.01)
    sensor.start()
    for _ in range(3):
        time.sleep(0.5)
        name, answer = next(iter(sensor.latest.items()))
        print(f"after {sensor.steps} steps {name} is {np.round(answer, 3)}", flush=True)
    sensor.stop()
    print(f"{sensor.steps} steps, {sensor.late} late, {sensor.refused} refused")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python sensor_thread.py MODEL.onnx")
    main(sys.argv[1])
