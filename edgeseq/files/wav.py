"""WAV: PCM samples of 16, 24 or 32 bits, or floats, as float32 from -1 to 1; read whole or piece by piece.

The chunks are read here, since Python 3.11's `wave` knows no extensible format, in which 24 bits are usually stored.
"""

import struct
from typing import Any, BinaryIO

import numpy as np
from edgeseq_runtime.errors import DamagedFileError, InputError
from edgeseq_runtime.signature import Tensor
from numpy.typing import NDArray

from edgeseq.files.numbers import as_dtype

Array = NDArray[Any]

WAV = ".wav"

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_ENDLESS = 0x7FFF0000
"""A size from here on is what a program writes that does not yet know how much will follow, as into a pipe."""
_BLOCK = 1 << 16


class WavReader:
    """The samples of a WAV file, in their order.

    sample_rate_hz, channels: as the file's head says. frames: how many samples a channel has; None: not known.

    Args:
        stream: at its first byte; it need not be seekable. where: what to call it in messages.

    Raises:
        DamagedFileError: this is no WAV file, or one that is cut off.
        InputError: samples of another kind.
    """

    def __init__(self, stream: BinaryIO, where: str) -> None:
        self._stream, self._where = stream, where
        head = stream.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            raise DamagedFileError(f"{where} is not a readable .wav file: it does not begin with RIFF and WAVE")
        found: tuple[int, ...] | None = None
        while (name_size := self._next_chunk())[0] != b"data":
            if name_size[0] == b"fmt ":
                found = self._format(name_size[1])
            else:
                self._skip(name_size[1])
        if found is None:
            raise DamagedFileError(f"{where} is not a readable .wav file: its samples come before their format")
        kind, self.channels, self.sample_rate_hz, self._width = found
        self._floating = kind == _FLOAT
        self.frames = self._announced(name_size[1])
        self._left = self.frames

    def read(self, count: int | None = None) -> Array:
        """The next samples, float32 (frames, channels): at most `count`, or all; none at the end.

        Raises:
            DamagedFileError: fewer are there than the head says.
        """
        frame = self._width * self.channels
        wanted = self._left if count is None or (self._left is not None and self._left < count) else count
        content = self._stream.read(wanted * frame) if wanted is not None else self._stream.read()
        whole = len(content) // frame
        if self._left is not None and wanted is not None:
            self._left -= whole
            if whole < wanted:
                self._refuse_cut(self._left)
        return self._floats(content[: whole * frame]).reshape(whole, self.channels)

    def _next_chunk(self) -> tuple[bytes, int]:
        head = self._stream.read(8)
        if len(head) < 8:
            raise DamagedFileError(f"{self._where} is not a readable .wav file: it has no samples")
        return head[:4], struct.unpack("<I", head[4:])[0]

    def _skip(self, size: int) -> None:
        left = size + size % 2  # chunks begin at even places
        while left and (block := self._stream.read(min(left, _BLOCK))):
            left -= len(block)

    def _format(self, size: int) -> tuple[int, ...]:
        """Kind, channels, rate and bytes a sample."""
        content = self._stream.read(min(size, _BLOCK))
        self._skip(size - len(content) + size % 2 if size > len(content) else size % 2)
        if len(content) < 16:
            raise DamagedFileError(f"{self._where} is not a readable .wav file: its format has {len(content)} bytes")
        kind, channels, rate, _, block, bits = struct.unpack("<HHIIHH", content[:16])
        if kind == _EXTENSIBLE and len(content) >= 26:
            kind = struct.unpack("<H", content[24:26])[0]
        if (kind, bits) not in {(_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64)}:
            given = f"{bits} bits a sample" if kind in (_PCM, _FLOAT) else f"compressed samples (format {kind})"
            raise InputError(
                f"{self._where} has {given}, but PCM of 16, 24 or 32 bits is read, or floats; convert it first"
            )
        if not channels or not rate or block != channels * bits // 8:
            raise DamagedFileError(
                f"{self._where} is not a readable .wav file: {channels} channels of {bits} bits at {rate} Hz cannot be "
                f"{block} bytes a frame"
            )
        return kind, channels, rate, bits // 8

    def _announced(self, size: int) -> int | None:
        """How many frames there are; None where the head does not know. Raises DamagedFileError: fewer are there."""
        if size == 0 or size >= _ENDLESS:
            return None
        frames: int = size // (self._width * self.channels)
        if self._stream.seekable():
            here = self._stream.tell()
            there = self._stream.seek(0, 2) - here
            self._stream.seek(here)
            if there < size:
                self._refuse_cut(-(-(size - there) // (self._width * self.channels)))
        return frames

    def _refuse_cut(self, missing: int) -> None:
        raise DamagedFileError(
            f"{self._where} is cut off: its head says that there are {missing} samples more than are "
            "there; copy or record it again"
        )

    def _floats(self, content: bytes) -> Array:
        if self._floating:
            return np.frombuffer(content, f"<f{self._width}").astype(np.float32)
        if self._width == 2:
            return np.frombuffer(content, "<i2").astype(np.float32) / np.float32(1 << 15)
        if self._width == 3:  # as the upper three bytes of four
            wide = np.zeros((len(content) // 3, 4), np.uint8)
            wide[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)
            content = wide.tobytes()
        return (np.frombuffer(content, "<i4") / float(1 << 31)).astype(np.float32)


def as_input(samples: Array, tensor: Tensor, where: str) -> Array:
    """Samples (frames, channels) as one sequence of an input: (1, frames), or (1, frames, channels).

    Raises:
        InputError: the input takes another number of channels.
    """
    tail = tensor.axes[2:]
    taken = 1 if not tail else tail[0]
    if len(tail) > 1 or (isinstance(taken, int) and samples.shape[1] != taken):
        channels = "1 channel" if samples.shape[1] == 1 else f"{samples.shape[1]} channels"
        raise InputError(
            f"{where} has {channels}, but '{tensor.name}' takes {taken if len(tail) < 2 else 'more axes'} "
            f"(axes: {', '.join(map(str, tensor.axes))}); give a recording with as many"
        )
    return as_dtype(samples if tail else samples[:, 0], tensor)[None]


def is_recording(stream: BinaryIO) -> bool:
    """Whether what comes from a pipe is a recording: its first bytes, which stay unread, say so."""
    peek = getattr(stream, "peek", None)
    return peek is not None and peek(4)[:4] == b"RIFF"
