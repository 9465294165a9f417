"""Training: from a recipe to a folder with a checkpoint, by way of pytorch-lightning.

Importing this package imports torch and pytorch-lightning; the command line does so when it trains.
"""

from edgeseq_runtime.errors import MissingPackageError

try:
    import pytorch_lightning  # noqa: F401  the modules below need it; this is where its absence is explained
except ImportError as error:
    raise MissingPackageError("training needs pytorch-lightning: pip install 'edgeseq[train]'") from error

from edgeseq.training.run import TrainResult, train

__all__ = ["TrainResult", "train"]
