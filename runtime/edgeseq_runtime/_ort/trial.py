"""Opening a file in a child process first, where onnxruntime itself may crash: recurrent operators in float16."""

import subprocess
import sys

from edgeseq_runtime.errors import UnsupportedFileError

CRASHING = ("NchwcTransformer",)
"""The optimiser that took the process down with it, in onnxruntime up to some version."""

_CODE = """
import sys, onnxruntime
options = onnxruntime.SessionOptions()
options.log_severity_level = 4
folder, *left_out = sys.argv[1:]
if folder:
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
try:
    onnxruntime.InferenceSession(
        sys.stdin.buffer.read(), options, providers=["CPUExecutionProvider"], disabled_optimizers=left_out or None
    )
except Exception:
    pass  # an error, told anew by the process that asked
"""

_SECONDS = 60


def optimisers_to_leave_out(content: bytes, name: str, folder: str | None) -> tuple[str, ...]:
    """What has to be left out for this file to open without a crash; nothing, in the good case.

    folder: where the files lie in which it may keep weights.

    Raises:
        UnsupportedFileError: it crashes all the same.
    """
    for left_out in ((), CRASHING):
        if _survives(content, folder, left_out):
            return left_out
    raise UnsupportedFileError(
        f"onnxruntime crashes when it opens '{name}', which has recurrent operators in float16 (tried in a process of "
        "its own). Export the model in float32, or use another version of onnxruntime"
    )


def _survives(content: bytes, folder: str | None, left_out: tuple[str, ...]) -> bool:
    if not sys.executable or getattr(sys, "frozen", False):  # part of another program: nothing to try it with
        return True
    command = [sys.executable, "-P", "-c", _CODE, folder or "", *left_out]
    try:
        done = subprocess.run(command, input=content, capture_output=True, timeout=_SECONDS, check=False)
    except (subprocess.TimeoutExpired, OSError):
        return False
    return done.returncode in (0, 1)
