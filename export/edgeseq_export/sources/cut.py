"""Where PyTorch cuts an answer to the longest row, the file goes on: whether what has no time axis is the same."""

import torch
from edgeseq_runtime.draw import draw_inputs
from edgeseq_runtime.errors import ExportError
from edgeseq_runtime.signature import BATCH, TIME
from torch import Tensor

from edgeseq_export.ops.packed import padded
from edgeseq_export.source import Source
from edgeseq_export.sources.streams import close
from edgeseq_export.swap import exchanged

_TIME, _LONGEST = 11, 8


def check_cut(source: Source) -> None:
    """Compare a network that cuts with itself as it goes into the file, at rows that all end early.

    Raises:
        ExportError: an output that is one for the whole row depends on the padding that was cut off.
    """
    signature = source.signature
    sizes = {**{name: signature.typical.get(name, 2) for name in signature.symbols}, BATCH: 2, TIME: _TIME}
    inputs = {name: torch.from_numpy(array) for name, array in draw_inputs(signature, sizes, 7).items()}
    for tensor in signature.inputs:
        if tensor.of is not None:
            inputs[tensor.name] = torch.tensor([_LONGEST, _LONGEST - 2]).to(inputs[tensor.name].dtype)
    with torch.no_grad():
        theirs: dict[str, Tensor] = source.module(**inputs)
        with padded():
            written: dict[str, Tensor] = exchanged(source.module, native=False)(**inputs)
    for tensor in signature.outputs:
        if TIME in tensor.axes:
            place = tensor.axes.index(TIME)
            written[tensor.name] = written[tensor.name].narrow(place, 0, theirs[tensor.name].shape[place])
        if not close(theirs[tensor.name], written[tensor.name]):
            raise ExportError(
                f"'{tensor.name}' of {source.name} depends on how far its rows are padded: PyTorch cuts them to the "
                "longest one (pad_packed_sequence), and a file cannot. Mask what goes over time by the lengths, a mean "
                "as y.sum(1) / lengths[:, None]"
            )
