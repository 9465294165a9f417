"""One training with one seed: decided on the validation part, then settled with it, then looked at on the test part."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeseq_runtime.errors import UsageError

from edgeseq.data import Parts
from edgeseq.nn import Autoencoder, ClosedForm, Network
from edgeseq.recipe import Recipe
from edgeseq.training.evaluate import evaluate
from edgeseq.training.figures import check_measured
from edgeseq.training.fitting import Fit, fit
from edgeseq.training.network import network_for
from edgeseq.training.resume import ResumeFile

SEARCH, REFIT = "training", "refit"

Found = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One training with one seed. file: the state it resumes from, kept until the whole training is done."""

    recipe: Recipe
    parts: Parts
    device: str
    progress: bool
    file: ResumeFile

    def train(self) -> tuple[Network, Found]:
        """The fitted network and its figures, those of the test part among them."""
        network, found = self.fitted()
        return network, {"test": evaluate(network, self.parts.test), **found}

    def fitted(self) -> tuple[Network, Found]:
        """By gradient, with a refit where the recipe asks for it, or in closed form; the network and how it went."""
        network, found = self.decide()
        network, more = self._settle(network, found)
        return network, {**found, **more}

    def decide(self) -> tuple[Network, Found]:
        """Fit on the training part alone; the network, and what the validation part showed."""
        network = self.fresh()
        if not isinstance(network, ClosedForm):
            return self._search(network)
        network.solve(self.parts.train)
        return network.eval(), {"validation": evaluate(network.eval(), self.parts.validation)}

    def fresh(self) -> Network:
        """The network before it is fitted. Raises UsageError where recipe, family and data do not go together."""
        _check_train_table(self.recipe, self.parts)
        network = network_for(self.recipe.model, self.parts.train, self.recipe.train.seed)
        _check_targets(self.recipe, network)
        check_measured(self.recipe.expect, network, self.parts.validation)
        if self.recipe.train.truncate is not None and not network.carries:
            raise UsageError("'truncate' carries states from piece to piece, but this network has none to carry on")
        return network

    def _settle(self, network: Network, found: Mapping[str, Any]) -> tuple[Network, Found]:
        """With nothing left to choose, use the validation part too, where that is asked for."""
        if isinstance(network, ClosedForm):
            chosen = network.solve(self.parts.train.join(self.parts.validation))
            return network.eval(), {"solved": dict(chosen)}
        return (self._refit(found) if self.recipe.train.refit else network), {}

    def _search(self, network: Network) -> tuple[Network, Found]:
        """Train until the validation loss no longer falls; the network, and what was found."""
        resumed = self.file.find()
        if resumed is not None and resumed.phase == REFIT:
            return network, dict(resumed.notes)
        train, validation = network.examples(self.parts.train), network.examples(self.parts.validation)
        plan = Fit(SEARCH, self.recipe.train, train, validation, self.device, self.progress)
        fitted = fit(plan, network, self.file, {}, resume=resumed is not None)
        network.finish(train, validation)
        found = {
            "validation": evaluate(network, self.parts.validation),
            "search": {"ran": fitted.ran, "best": fitted.best},
        }
        # a run that was not stopped early has earned its whole schedule: where its best epoch lay is chance
        refit_epochs = fitted.best if fitted.early else fitted.ran
        return network, {**found, "epochs": refit_epochs if self.recipe.train.refit else fitted.best}

    def _refit(self, found: Mapping[str, Any]) -> Network:
        """Train once more, on training and validation part together, for the epochs that the search found."""
        together = self.parts.train.join(self.parts.validation)
        network = network_for(self.recipe.model, together, self.recipe.train.seed)
        examples, table = network.examples(together), replace(self.recipe.train, epochs=found["epochs"])
        resumed = self.file.find()
        plan = Fit(REFIT, table, examples, None, self.device, self.progress)
        fit(plan, network, self.file, found, resume=resumed is not None and resumed.phase == REFIT)
        network.finish(examples, None)
        return network


@contextmanager
def passing(recipe: Recipe, parts: Parts, device: str) -> Iterator[Run]:
    """A training that leaves nothing behind: no bar, and no state to resume from."""
    with tempfile.TemporaryDirectory() as folder:
        file = ResumeFile(Path(folder), recipe, parts.about.sha256, device, kept=False)
        yield Run(recipe, parts, device, False, file)


def _check_train_table(recipe: Recipe, parts: Parts) -> None:
    """Raise UsageError for keys of the table `train` that mean nothing for this data."""
    table, data = recipe.train, parts.train
    if table.truncate is not None and not data.stepwise:
        raise UsageError("'truncate' is for data with an answer for every step; this has one for each example")
    if table.shift and (data.lengths is not None or data.x.ndim < 3):
        raise UsageError(f"'shift' moves images, but x has shape {data.x.shape}; leave it out")


def _check_targets(recipe: Recipe, network: Network) -> None:
    """Raise UsageError where noise would carry what an autoencoder is to rebuild out of reach of its sigmoid."""
    if not isinstance(network, Autoencoder) or network.config.output != "sigmoid":
        return
    if given := [name for name in ("noise", "offset") if getattr(recipe.train, name)]:
        raise UsageError(
            f"'{given[0]}' changes what is to be rebuilt too, and takes it beyond 0 and 1, where no sigmoid follows; "
            "set corruption = 'gaussian' and corruption_level in the table 'model' in its place"
        )
