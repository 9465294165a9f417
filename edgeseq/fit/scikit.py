"""scikit-learn, imported only when something is fitted with it: no checkpoint and no export needs it."""

import warnings
from importlib import import_module
from typing import Any

from edgeseq_runtime.errors import MissingPackageError


def estimator(module: str, name: str, **settings: Any) -> Any:
    """An estimator, such as `name` "SVC" of `module` "svm".

    Raises:
        MissingPackageError: scikit-learn is not installed.
    """
    try:
        kind = getattr(import_module(f"sklearn.{module}"), name)
    except ImportError as error:
        raise MissingPackageError(f"{name} needs scikit-learn: pip install 'edgeseq[train]'") from error
    return kind(**settings)


def fit(fitted: Any, features: Any, targets: Any) -> Any:
    """Fit an estimator and return it; that it stopped at its number of iterations is no news."""
    warning = import_module("sklearn.exceptions").ConvergenceWarning
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", warning)
        return fitted.fit(features, targets)
