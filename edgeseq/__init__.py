"""edgeseq: one file, proven at every length, streaming or whole, without PyTorch."""

from edgeseq_runtime import __version__

__all__ = ["__version__"]
