"""The families: which names there are, and how a network is built from a name and a config."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from edgeseq_runtime.errors import UsageError

from edgeseq import schema
from edgeseq.nn.ae import Ae, AeConfig
from edgeseq.nn.autoencoder import Autoencoder
from edgeseq.nn.charlm import CharLM, CharLMConfig
from edgeseq.nn.cnn import Cnn, CnnConfig
from edgeseq.nn.convae import ConvAe, ConvAeConfig
from edgeseq.nn.crnn import Crnn, CrnnConfig
from edgeseq.nn.elm import Elm, ElmConfig
from edgeseq.nn.esn import Esn
from edgeseq.nn.esn_config import EsnConfig
from edgeseq.nn.family import Batch, ClosedForm, Family, Hints, Outputs
from edgeseq.nn.grid import Grid, GridConfig
from edgeseq.nn.mlp import Mlp, MlpConfig
from edgeseq.nn.network import Network
from edgeseq.nn.recae import RecAe, RecAeConfig
from edgeseq.nn.recurrent import Recurrent, RecurrentConfig
from edgeseq.nn.seq2seq import Seq2Seq
from edgeseq.nn.seq2seq_config import Seq2SeqConfig
from edgeseq.nn.tagger import Tagger, TaggerConfig
from edgeseq.nn.tcn import Tcn, TcnConfig
from edgeseq.nn.tree import Tree, TreeConfig

__all__ = [
    "FAMILIES",
    "Autoencoder",
    "Batch",
    "ClosedForm",
    "Family",
    "Hints",
    "Network",
    "Outputs",
    "Recurrent",
    "RecurrentConfig",
    "build",
    "entry",
    "with_settings",
]


@dataclass(frozen=True)
class Entry:
    """One family: its network and config classes, and the keys of the config that the name alone decides."""

    network: type[Any]
    config: type[Any]
    decided: Mapping[str, Any] = field(default_factory=dict)


FAMILIES: Mapping[str, Entry] = {
    **{cell: Entry(Recurrent, RecurrentConfig, {"cell": cell}) for cell in ("rnn", "lstm", "gru")},
    "mlp": Entry(Mlp, MlpConfig),
    "elm": Entry(Elm, ElmConfig),
    "cnn": Entry(Cnn, CnnConfig),
    "charlm": Entry(CharLM, CharLMConfig),
    "grid": Entry(Grid, GridConfig),
    "crnn": Entry(Crnn, CrnnConfig),
    "tree": Entry(Tree, TreeConfig),
    "tcn": Entry(Tcn, TcnConfig),
    "esn": Entry(Esn, EsnConfig),
    "tagger": Entry(Tagger, TaggerConfig),
    "seq2seq": Entry(Seq2Seq, Seq2SeqConfig),
    "ae": Entry(Ae, AeConfig, {"variational": False}),
    "vae": Entry(Ae, AeConfig, {"variational": True}),
    "convae": Entry(ConvAe, ConvAeConfig),
    "recae": Entry(RecAe, RecAeConfig),
}


def entry(family: str) -> Entry:
    """What belongs to a family's name. Raises UsageError for one that is not known."""
    if family not in FAMILIES:
        raise UsageError(f"family '{family}' is not known; choose one of {', '.join(FAMILIES)}")
    return FAMILIES[family]


def build(family: str, config: Mapping[str, Any], hints: Hints | None = None) -> Network:
    """The network of a family, with fresh random weights.

    Args:
        family: one of FAMILIES. config: the fields of the family's config dataclass, as plain values.

    Raises:
        UsageError: an unknown family, an unknown or missing key, a value of another type or out of range.
    """
    found = entry(family)
    for key, value in found.decided.items():
        if config.get(key, value) != value:
            raise UsageError(f"the family is '{family}', but its config says {key} = {config[key]!r}")
    values = {**found.decided, **config}
    make: Callable[[Any, Hints | None], Network] = found.network  # a subclass knows its family's name
    return make(schema.build(found.config, values, f"the config of the family '{family}'"), hints)


def with_settings(network: Network, settings: Mapping[str, Any]) -> Network:
    """A network with the same weights and other settings, in eval mode.

    Args:
        settings: keys of the config on which no weight hangs (`Family.export_settings`), with their values.

    Raises:
        UsageError: another key, or a value that the config does not take.
    """
    if strange := [key for key in settings if key not in network.export_settings]:
        raise UsageError(f"{_told_setting(strange[0])}, but this network is of the family '{network.family}'")
    changed = build(network.family, {**asdict(network.config), **settings}, network.hints)
    changed.load_state_dict(network.state_dict())
    return changed.eval()


def _told_setting(key: str) -> str:
    """Which families have a setting that an export may choose."""
    families = [name for name, each in FAMILIES.items() if key in each.network.export_settings]
    if len(families) < 2:
        return f"'{key}' is of the family '{families[0]}'" if families else f"'{key}' cannot be set for an export"
    return f"'{key}' is of the families {', '.join(families)}"
