"""Networks that others published in packages on PyPI, opened as their authors wrote them and with their weights."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from unittest.mock import MagicMock

import torch
from torch import Tensor, nn

from edgeseq.data.packages import package_file


def theirs(package: str, version: str, file: str, absent: Sequence[str] = ()) -> ModuleType:
    """A module of an installed package, without the package's own __init__, which imports more than is installed.

    file: such as `legere/model.py`. absent: modules that it imports and that nothing here needs.
    """
    path = package_file(package, version, file)
    top = path.parents[file.count("/") - 1]
    bare = sys.modules.setdefault(top.name, ModuleType(top.name))
    bare.__path__ = [str(top)]
    sys.modules.update({name: MagicMock() for name in absent})
    try:
        return import_module(file.removesuffix(".py").replace("/", "."))
    finally:
        for name in absent:
            del sys.modules[name]


def weights(package: str, version: str, file: str):
    """Weights as a package carries them; no code runs."""
    return torch.load(package_file(package, version, file), map_location="cpu", weights_only=True)


def resemblyzer() -> nn.Module:
    """Speaker embeddings (Resemblyzer 0.1.4, Apache-2.0): LSTM of three layers, the last state, length one."""
    module = theirs("Resemblyzer", "0.1.4", "resemblyzer/voice_encoder.py", ["resemblyzer.audio"])
    return module.VoiceEncoder("cpu", verbose=False)


def instate() -> nn.Module:
    """Languages of Indian family names (instate 0.1.7, MIT): LSTM over packed letters, three heads."""
    network = theirs("instate", "0.1.7", "instate/models/model_lang.py").LanguagePredictor(27, 50, 128, 37)
    network.load_state_dict(weights("instate", "0.1.7", "instate/data/state_lang_labels.pt"))
    return network


def legere() -> nn.Module:
    """Lines of printed text (legere 0.11.0, MIT): depthwise convolutions, a bidirectional GRU, CTC."""
    network = theirs("legere", "0.11.0", "legere/model.py").CompactCRNN()
    network.load_state_dict(weights("legere", "0.11.0", "legere/data/model.pt")["model"])
    return network


def attacut() -> nn.Module:
    """Words of Thai text (attacut 1.0.6, MIT): dilated convolutions over characters."""
    absent = ["attacut.logger", "attacut.dataloaders"]
    model = theirs("attacut", "1.0.6", "attacut/models/seq_ch_conv.py", absent).Model
    network = model({"num_tokens": 139}, "emb:48|conv:196|l1:32")
    network.load_state_dict(weights("attacut", "1.0.6", "attacut/artifacts/attacut-c/model.pth"))
    return network


def g2p_fa() -> nn.Module:
    """Persian letters to phones (g2p-fa 1.1.0, MIT): an LSTM encoder, time first, and a step of its decoder."""
    module = theirs("g2p-fa", "1.1.0", "g2p_fa/model.py")
    encoder, decoder = (kind(size, 40, 256, 2, 0.2) for kind, size in ((module.Encoder, 41), (module.Decoder, 33)))
    network = module.Seq2Seq(encoder, decoder, torch.device("cpu"))
    network.load_state_dict(weights("g2p-fa", "1.1.0", "g2p_fa/data/weights"))
    return network


def parsernaam() -> nn.Module:
    """First or last name (parsernaam 0.1.1, MIT): LSTM of two layers over letters, the last step."""
    network = theirs("parsernaam", "0.1.1", "parsernaam/model.py").LSTM(57, 256, 2, num_layers=2)
    network.load_state_dict(weights("parsernaam", "0.1.1", "parsernaam/models/parsernaam.pt"))
    return network
