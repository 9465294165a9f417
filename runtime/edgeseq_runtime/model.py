"""A loaded model: run whole sequences, open streams, prove itself, measure itself."""

import os
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from edgeseq_runtime._ort.session import Session
from edgeseq_runtime.contract import CONTRACT_KEY, GOLDEN_KEY, INITIAL_KEY, PRODUCER, Contract
from edgeseq_runtime.errors import (
    ContractError,
    DamagedFileError,
    FileError,
    GuessWarning,
    InputError,
    MissingFileError,
    StreamError,
    UsageError,
)
from edgeseq_runtime.feed import Feed, Inputs, checked_values
from edgeseq_runtime.foreign import understand
from edgeseq_runtime.foreign_stream import ForeignStream, can_be_bound
from edgeseq_runtime.infer import guesses
from edgeseq_runtime.layout import Laid, Layout
from edgeseq_runtime.providers import Asked, Provider, candidates, choose, is_whole
from edgeseq_runtime.replay import Runner, replayed
from edgeseq_runtime.seal import check_seal, digest, is_sealed
from edgeseq_runtime.signature import BATCH, TIME, Limit, Signature
from edgeseq_runtime.stream import Stream
from edgeseq_runtime.threads import ThreadCount, Threads, checked, fastest
from edgeseq_runtime.unrolled import Unrolled
from edgeseq_runtime.wire import external_files

if TYPE_CHECKING:
    from edgeseq_runtime.compare import ParityReport
    from edgeseq_runtime.golden import Keep
    from edgeseq_runtime.measure import Latency

Array = NDArray[Any]
ModelFile = str | os.PathLike[str] | bytes


def load(
    source: ModelFile,
    *,
    provider: Asked = "auto",
    threads: ThreadCount = 1,
    values: Mapping[str, float | int] | None = None,
    states: Mapping[str, str] | None = None,
    sizes: Mapping[str, int] | None = None,
) -> "Model":
    """Open an ONNX file.

    Args:
        source: a path, or the file's bytes.
        provider: "cpu", "cuda", or one of `edgeseq_runtime.providers` with options of its own, such as
            `cuda(memory_limit=2**30)`; "auto", or a list of them, takes what measures fastest of those that are here.
        threads: threads inside one operator; "auto" opens the file with 1, 2, 4, … and takes what runs its typical
            shape fastest.
        values: named scalars of the file to be other than their defaults, such as {"temperature": 0.5}; of a file
            without a contract, inputs that are the same in every call, such as {"sr": 16000}.
        states: of a file without a contract, which output is an input's next value, such as {"h": "hn"}; they are
            looked for where this is None.
        sizes: at which "auto" measures providers, by axis, where they are not the typical ones: {"batch": 32}. With
            {"time": 1} it is a step of a stream that is timed. Axes that the file does not have are left out.

    Raises:
        MissingFileError, DamagedFileError: no such file; or empty, truncated, changed, not ONNX.
        UnsafeFileError: it keeps weights in a file outside its folder.
        ContractError: the contract is malformed, contradicts itself, or is of a newer version.
        UsageError: the file has no such value; a size is none.
        ProviderError: the provider that was named is not there, or does not come up.
    """

    def opened(one: Asked) -> Model:
        model = Model(source, provider=one, threads=checked(threads), values=values, states=states)
        if threads != "auto" or not model.provider.on_cpu:
            return model
        return fastest(model, lambda n: Model(source, provider=one, threads=n, values=values, states=states), at)

    several = candidates(provider)
    if not all(is_whole(size) and size >= 1 for size in (sizes or {}).values()):
        raise UsageError(f"sizes is {dict(sizes or {})}, but each is a whole number from 1")
    at = {name: int(size) for name, size in (sizes or {}).items()}
    if len(several) == 1:
        return opened(provider)
    from edgeseq_runtime import auto  # on most devices there is nothing to choose

    return auto.fastest(several, opened, at)


class Model:
    """An ONNX file in a session. It holds no state: any number of threads may call it, and it can be pickled.

    name: the file's name; contract: None for a file that edgeseq did not write; sha256: the file's own hash,
    None without a contract; identity: that hash, or of a foreign file the one of its bytes; provider, threads: what
    runs it and why; values: the named scalars in effect; pairs: the states that were found where the file does not
    say them; layout: the graph's own axes, where they are other than the signature's.
    """

    def __init__(
        self,
        source: ModelFile,
        *,
        provider: Asked = "auto",
        threads: int = 1,
        values: Mapping[str, float | int] | None = None,
        states: Mapping[str, str] | None = None,
    ) -> None:
        self.threads = Threads(checked(threads), "asked for")
        if not isinstance(source, bytes):
            source = os.path.abspath(source)
        self._arguments = (source, provider, threads, dict(values or {}), states)
        self.name, content = ("model", source) if isinstance(source, bytes) else _read(source)
        self.provider: Provider = choose(provider)
        self.sha256 = check_seal(content, self.name) if is_sealed(content) else None
        folder = "" if isinstance(source, bytes) else os.path.dirname(source)
        external = _external(content, self.name, folder)
        self.identity = self.sha256 or digest(content, external)
        listed, graphs = self.provider.chosen.onnxruntime_list, self.provider.chosen.graphs
        self._session = Session(content, self.name, listed, threads, folder if external else None, graphs)
        self.contract: Contract | None = self._read_contract()
        if self.contract is None:
            given = self._understand(states, values or {})
            defaults: Mapping[str, float | int] = {}
        else:
            given = self._read_signature(self.contract, states, values or {})
            defaults = self.contract.values
        steps = self.contract.steps if self.contract else None
        self._runner: Runner = replayed(self._session, [t.name for t in self.signature.inputs if t.of is not None])
        if self.layout is not None:
            self._runner = Laid(self._session, self.name, self.signature, self.layout)
        elif steps is not None:
            self._runner = Unrolled(self._session, self.signature, steps)
        set_to = {name: array.flat[0].item() for name, array in given.items() if array.size}
        self.values: Mapping[str, float | int] = {**defaults, **set_to}
        self._feed = Feed(self.name, self.signature, self._learned_states(), given)
        self._outputs = tuple(t.name for t in self.signature.outputs)

    def __repr__(self) -> str:
        return f"<Model {self.name!r} on {self.provider.name}: {', '.join(t.name for t in self.signature.inputs)}>"

    def run(self, inputs: Inputs, *, states: bool = False) -> dict[str, Array]:
        """Run a batch of whole sequences.

        Args:
            inputs: the array of the only input, (batch, time, features) for most models; or a dict by input name.
                Lengths default to the whole time axis, states to the initial ones.
            states: also return the next states, under their output names.

        Returns: fresh arrays by output name. NaN and infinity are taken as they come, and recurrent operators can
            hide them: the answer may look sound.

        Raises:
            InputError: a name, rank, size, type or length that does not fit.
        """
        feeds = self._feed.complete(inputs)
        names = self.signature.output_names if states else self._outputs
        return dict(zip(names, self._runner.run_checked(names, feeds), strict=True))

    def stream(self, batch: int = 1, *, allow_nonfinite: bool = False, context: int = 0) -> Stream:
        """A stream of `batch` sequences that are stepped together, with the states carried.

        allow_nonfinite: take NaN and infinity as they come (recurrent operators can hide them: the answer may look
            sound); otherwise such an input raises InputError before the state is touched.
        context: of a file that edgeseq did not export, how many samples of the previous chunk go before each chunk.

        Raises:
            StreamError: the model cannot be streamed, with the reason.

        Warns:
            GuessWarning: which output is a state's next value was guessed from its shape and order alone.
        """
        for guess in guesses(self.pairs, self.name):
            warnings.warn(guess, GuessWarning, stacklevel=2)
        limit = self.signature.limits.get(BATCH, Limit())
        if batch < limit.min or batch > (limit.max or batch):
            most = "" if limit.max is None else f", at most {limit.max}"
            raise StreamError(f"a stream of batch {batch} was asked for, but at least {limit.min}{most} is needed")
        if isinstance(self._runner, Laid) and self.layout is not None:
            if not context and can_be_bound(self.signature):
                stream = Stream(self, self._runner, self._runner, self._feed, batch, allow_nonfinite)
                if stream.tried():
                    return stream
            one_step = self.layout.one_step
            return ForeignStream(self, self._runner, self._feed, batch, allow_nonfinite, context, one_step)
        if context and self.contract:
            raise StreamError(
                f"{self.name} keeps what it needs of the past in its states; a context is for other files"
            )
        return Stream(self, self._session, self._runner, self._feed, batch, allow_nonfinite)

    @property
    def declared(self) -> Signature:
        """What the graph itself declares, states among the inputs and outputs."""
        return self._session.signature()

    def verify(self, *, keep: "Keep | None" = None) -> "ParityReport":
        """Run the test vectors stored in the file, and compare with PyTorch's answers. keep: is shown every case.

        They are run with the values that they were made with, whatever is set here or has become the file's default.

        Raises:
            ContractError: the file carries none.
            DamagedFileError: the file has changed since it was loaded, and other values are needed.
        """
        text = self._session.metadata.get(GOLDEN_KEY)
        if text is None:
            raise ContractError(
                f"{self.name} carries no test vectors; compare it with its reference: "
                f"edgeseq verify {self.name} REFERENCE"
            )
        from edgeseq_runtime import golden  # half of the import time, and not needed to run

        cases, values = golden.unpack(text)
        return golden.check(self._set_to({**(self.contract.values if self.contract else {}), **values}), cases, keep)

    def measure(
        self, batch: int | None = None, time: int | None = None, *, stream: bool = False, seconds: float = 1.0
    ) -> "Latency":
        """The latency of `run`, or with `stream` of one stream call, on random inputs.

        batch, time: the contract's typical sizes unless given; a stream call has one step (`Stream.step`).
        """
        from edgeseq_runtime.measure import measure, model_call  # not needed to run

        sizes = self.sizes(batch, 1 if stream and time is None else time)
        return measure({"": model_call(self, sizes, stream)}, seconds)[""]

    def sizes(self, batch: int | None = None, time: int | None = None) -> dict[str, int]:
        """The size of every named axis: as given, else typical, else 1."""
        sizes = {name: self.signature.typical.get(name, 1) for name in self.signature.symbols}
        for axis, size in ((BATCH, batch), (TIME, time)):
            if size is not None:
                if size < 1:
                    raise InputError(f"{axis} is {size}, but at least 1 is needed")
                sizes[axis] = size
        return self.signature.sized(sizes)

    def _understand(self, states: Mapping[str, str] | None, values: Mapping[str, float | int]) -> Mapping[str, Array]:
        """Find out about a file without a contract; returns the inputs that are fixed."""
        found = understand(self._session, self.name, states, values)
        self.signature: Signature = found.signature
        self.pairs, self.layout = found.pairs, found.layout
        return found.fixed

    def _read_signature(
        self, contract: Contract, states: Mapping[str, str] | None, values: Mapping[str, float | int]
    ) -> Mapping[str, Array]:
        """Take what the contract says; returns the scalars that are set."""
        if states is not None:
            raise UsageError(f"{self.name} has a contract, which says what its states are; leave them out")
        self.signature, self.pairs = contract.signature, ()
        self.layout = None if contract.layout is None else Layout(**contract.layout)
        return checked_values(self.name, contract.values, values)

    def __getstate__(self) -> Mapping[str, Any]:
        source, *options = self._arguments
        return {"source": source, "options": options, "identity": self.identity, "provider": self.provider}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        provider, threads, values, states = state["options"]
        Model.__init__(self, state["source"], provider=provider, threads=threads, values=values, states=states)
        if self.identity != state["identity"]:
            raise DamagedFileError(f"'{state['source']}' is not the file any more that this model was pickled with")
        self.provider = state["provider"]

    def _set_to(self, values: Mapping[str, float | int]) -> "Model":
        """The model itself where its values are those, else the same file with them."""
        if values == self.values:
            return self
        source, provider, threads, *_ = self._arguments
        model = Model(source, provider=provider, threads=threads, values=values)
        if model.sha256 != self.sha256:
            raise DamagedFileError(f"'{self.name}' has changed since it was loaded; load it again")
        return model

    def _read_contract(self) -> Contract | None:
        text = self._session.metadata.get(CONTRACT_KEY)
        if self.sha256 is None and (text is not None or self._session.producer == PRODUCER):
            raise DamagedFileError(
                f"'{self.name}' was written by edgeseq but its hash at the end is missing: it was truncated or "
                "changed. Copy or export it again"
            )
        if text is None:
            return None
        contract = Contract.from_json(text)
        self._session.check_signature(contract.signature, (contract.layout or {}).get("axes"))
        return contract

    def _learned_states(self) -> dict[str, Array]:
        if not any(s.initial == "learned" for s in self.signature.states):
            return {}
        from edgeseq_runtime import golden

        return golden.unpack_arrays(self._session.metadata.get(INITIAL_KEY, ""))


def _external(content: bytes, name: str, folder: str) -> list[str]:
    """The files in which an ONNX file keeps weights; they are in its own folder, or refused."""
    files = external_files(content, name)
    if files and not folder:
        raise FileError(f"'{name}' keeps weights in '{files[0]}', which bytes alone do not have; give its path")
    for file in files:
        if not os.path.isfile(os.path.join(folder, file)):
            raise MissingFileError(f"'{name}' keeps weights in '{file}', which is not beside it in '{folder}'")
    return [os.path.join(folder, file) for file in files]


def _read(path: str | os.PathLike[str]) -> tuple[str, bytes]:
    file = os.fspath(path)
    try:
        with open(file, "rb") as stream:
            content = stream.read()
    except FileNotFoundError as error:
        raise MissingFileError(f"'{file}' does not exist") from error
    except (OSError, ValueError) as error:  # a path with a zero byte in it is a ValueError
        raise FileError(f"cannot read '{file!s}': {getattr(error, 'strerror', None) or error}") from error
    if not content:
        raise DamagedFileError(f"'{file}' is empty; an ONNX file is expected")
    if content.startswith(b"PK"):
        raise DamagedFileError(f"'{file!s}' is a checkpoint or another archive, not an ONNX file; export it first")
    return os.path.basename(file), content
