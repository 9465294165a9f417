"""What is solved for, or fitted by scikit-learn, instead of being trained by gradient."""

from edgeseq.fit.logistic import logistic
from edgeseq.fit.pca import principal_components
from edgeseq.fit.perceptron import perceptron
from edgeseq.fit.ridge import Ridge, ridge
from edgeseq.fit.sharpness import sharpness
from edgeseq.fit.svm import SupportVectors, support_vectors

__all__ = [
    "Ridge",
    "SupportVectors",
    "logistic",
    "perceptron",
    "principal_components",
    "ridge",
    "sharpness",
    "support_vectors",
]
