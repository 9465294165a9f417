"""Networks that others published in packages on PyPI, with their weights and with inputs as their users have them.

The networks are the authors' own classes, run from their packages (`make data`); that of silero-vad, which the package
holds as TorchScript, is written here once more.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn
from torch.nn import functional

from edgeseq.data.packages import package_file

VERSIONS = {
    "Resemblyzer": "0.1.4",  # Apache-2.0
    "attacut": "1.0.6",  # MIT, as all below
    "g2p-fa": "1.1.0",
    "instate": "0.1.7",
    "legere": "0.11.0",
    "parsernaam": "0.1.1",
    "silero-vad": "6.2.3",
}

Answers = dict[str, Tensor]


def file(package: str, name: str) -> Path:
    return package_file(package, VERSIONS[package], name)


def weights(package: str, name: str) -> dict[str, Any]:
    """What a package's file of weights holds; it runs no code."""
    return torch.load(file(package, name), map_location="cpu", weights_only=True)


def theirs(package: str, name: str, absent: Sequence[str] = ()) -> ModuleType:
    """A module of an installed package, without the package's own __init__, which imports what is not installed.

    name: of its file, such as `legere/model.py`. absent: modules that it imports and does not need here.
    """
    folder = file(package, name).parents[name.count("/") - 1]
    bare = sys.modules.setdefault(folder.name, ModuleType(folder.name))
    bare.__path__ = [str(folder)]
    absent = [each for each in absent if each not in sys.modules]
    sys.modules.update({each: MagicMock() for each in absent})
    try:
        return import_module(name.removesuffix(".py").replace("/", "."))
    finally:
        for each in absent:
            del sys.modules[each]


def resemblyzer() -> nn.Module:
    return theirs("Resemblyzer", "resemblyzer/voice_encoder.py", ["resemblyzer.audio"]).VoiceEncoder(
        "cpu", verbose=False
    )


def instate() -> nn.Module:
    network = theirs("instate", "instate/models/model_lang.py").LanguagePredictor(27, 50, 128, 37)
    network.load_state_dict(weights("instate", "instate/data/state_lang_labels.pt"))
    return network


def legere() -> nn.Module:
    network = theirs("legere", "legere/model.py").CompactCRNN()
    network.load_state_dict(weights("legere", "legere/data/model.pt")["model"])
    return network


def attacut() -> nn.Module:
    absent = ["attacut.logger", "attacut.dataloaders", "yaml"]
    model = theirs("attacut", "attacut/models/seq_ch_conv.py", absent).Model
    network = model({"num_tokens": 139}, "emb:48|conv:196|l1:32")  # as attacut-c/params.yml has it
    network.load_state_dict(weights("attacut", "attacut/artifacts/attacut-c/model.pth"))
    return network


class WordStarts(nn.Module):
    """attacut with an answer for each row: its own forward takes lengths that it does not read, and gives one row."""

    def __init__(self) -> None:
        super().__init__()
        self.network = attacut()

    def forward(self, characters: Tensor) -> Tensor:
        return self.network((characters, None)).view(characters.shape)


def g2p_fa() -> nn.Module:
    module = theirs("g2p-fa", "g2p_fa/model.py")
    encoder, decoder = (kind(size, 40, 256, 2, 0.2) for kind, size in ((module.Encoder, 41), (module.Decoder, 33)))
    network = module.Seq2Seq(encoder, decoder, torch.device("cpu"))
    network.load_state_dict(weights("g2p-fa", "g2p_fa/data/weights"))
    return network


def parsernaam() -> nn.Module:
    network = theirs("parsernaam", "parsernaam/model.py").LSTM(57, 256, 2, num_layers=2)
    network.load_state_dict(weights("parsernaam", "parsernaam/models/parsernaam.pt"))
    return network


def silero_archive() -> torch.jit.ScriptModule:
    """All of silero-vad: a network for 16 kHz, one for 8 kHz, and the states of the last call."""
    return torch.jit.load(file("silero-vad", "silero_vad/data/silero_vad.jit"), map_location="cpu").eval()


class Silero(nn.Module):
    """The network for 16 kHz, after the package's tinygrad_model.py (MIT, Silero Team)."""

    def __init__(self) -> None:
        super().__init__()
        self.spectrum = nn.Conv1d(1, 258, 256, stride=128, bias=False)
        sizes = ((129, 128, 1), (128, 64, 2), (64, 64, 2), (64, 128, 1))
        self.encoder = nn.ModuleList(nn.Conv1d(i, o, 3, stride, padding=1) for i, o, stride in sizes)
        self.cell = nn.LSTMCell(128, 128)
        self.head = nn.Conv1d(128, 1, 1)
        self.load_state_dict(dict(zip(self.state_dict(), silero_archive()._model.state_dict().values(), strict=True)))

    def forward(self, audio: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """audio: 64 samples of the frame before, and 512 new ones. state: h and c."""
        x = self.spectrum(functional.pad(audio, (0, 64), mode="reflect")[:, None])
        x = torch.sqrt(x[:, :129] ** 2 + x[:, 129:] ** 2)
        for layer in self.encoder:
            x = torch.relu(layer(x))
        h, c = self.cell(x.squeeze(-1), (state[0], state[1]))
        speech = torch.sigmoid(self.head(torch.relu(h[..., None])))
        return speech.mean(2), torch.stack([h, c])


def vowel(pitch_hz: float, seconds: float) -> Tensor:
    """(samples,) at 16 kHz: a voice that says `a` again and again; harmonics under three formants."""
    time = torch.arange(int(seconds * 16000)) / 16000
    phase = 2 * torch.pi * torch.cumsum(pitch_hz + 20 * torch.sin(9 * time), 0) / 16000
    sound = torch.zeros_like(time)
    for harmonic in range(1, 40):
        formants = ((700, 80), (1200, 100), (2600, 150))
        gain = sum(1 / (1 + ((pitch_hz * harmonic - centre) / width) ** 2) for centre, width in formants)
        sound += gain / harmonic**0.5 * torch.sin(harmonic * phase)
    return 0.2 * sound / sound.abs().max() * (0.6 + 0.4 * torch.sin(25 * time))


def _bands(sound: Tensor) -> Tensor:
    """(frames, 40): the power in bands of equal width in mel, every 10 ms."""
    power = torch.stft(sound, 400, 160, window=torch.hann_window(400), return_complex=True).abs() ** 2
    edges = 700 * (10 ** (torch.linspace(0, 2840, 42) / 2595) - 1) / 40
    bins, (low, centre, high) = torch.arange(201)[:, None], (edges[:-2], edges[1:-1], edges[2:])
    filters = torch.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)).clamp(min=0)
    return (power.T @ filters) / filters.sum(0).clamp(min=1e-3) * 0.01


def _voices() -> Answers:
    low, high = vowel(110, 3), vowel(210, 1.5)
    return {"mels": torch.stack([_bands(low[:24000]), _bands(low[24000:]), _bands(high)])}


def _same_voice(answers: Answers) -> bool:
    """Whether the first two voices are nearer to each other than to the third."""
    one, two, three = answers["output"]
    return bool(one @ two > max(one @ three, two @ three))


def _surnames() -> Answers:
    places = json.loads(file("instate", "instate/data/char2idx.json").read_text())
    names = [torch.tensor([places[letter] for letter in name]) for name in ("banerjee", "reddy")]
    return {"x": nn.utils.rnn.pad_sequence(names, batch_first=True), "lengths": torch.tensor([len(n) for n in names])}


def _languages(answers: Answers) -> list[str]:
    languages = file("instate", "instate/data/langs.txt").read_text().splitlines()
    return [languages[place] for place in answers["out1"].argmax(1)]


def _line() -> Answers:
    font = ImageFont.load_default(24)
    image = Image.new("L", (185, 32), 255)
    ImageDraw.Draw(image).text((8, 16), "sequence 2024", fill=0, font=font, anchor="lm")
    return {"images": torch.from_numpy(np.array(image, np.float32) / 127.5 - 1)[None, None]}


def _read(answers: Answers) -> list[str]:
    return theirs("legere", "legere/model.py").ctc_greedy_decode(answers["output"])


THAI = "ฉันกินข้าวที่บ้านกับแม่"  # I eat rice at home with mother


def _thai() -> Answers:
    places = json.loads(file("attacut", "attacut/artifacts/attacut-c/characters.json").read_text(encoding="utf-8"))
    return {"characters": torch.tensor([[places[letter] for letter in THAI]])}


def _cut(answers: Answers) -> str:
    starts = (answers["output"][0] > 0).tolist()
    return "".join(
        f"|{letter}" if place and start else letter
        for place, (letter, start) in enumerate(zip(THAI, starts, strict=True))
    )


PERSIAN, PHONES = "ءآئابتثجحخدذرزسشصضطظعغفقلمنهوُِپچژکگی", "bdefhijklmnopqstuvxzæɒɡɾʃʒʔʰː"
WORD = "سلام"


def _letters() -> Answers:
    word = [1, *(PERSIAN.index(letter) + 3 for letter in WORD), 2]
    return {"src": torch.tensor([word + [0] * (30 - len(word))])}


def _first_step() -> Answers:
    with torch.no_grad():
        hidden, cell = g2p_fa().eval().encoder(_letters()["src"].T)
    return {"input": torch.tensor([1]), "hidden": hidden, "cell": cell}


LETTERS = " '-ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def _names() -> Answers:
    rows = [[*map(LETTERS.index, name), *[56] * (30 - len(name))] for name in ("Christopher", "Rodriguez")]
    return {"input": torch.tensor(rows)}


def _frame() -> Answers:
    return {"audio": vowel(120, 0.1)[None, 500:1076], "state": torch.zeros(2, 1, 128)}


@dataclass(frozen=True)
class Published:
    """A network, what is said and found of its call, and what it makes of an input as its users have it.

    inputs: as for from_module; none where it finds them out. real: by input of the file. forward: the authors' own, of
    the same tensors, in the order of the file's outputs. says: what `reads` should make of the answer.
    """

    network: Callable[[], nn.Module]
    inputs: tuple[str, ...]
    states: tuple[str, ...]
    reason: str | None
    real: Callable[[], Mapping[str, Tensor]]
    forward: Callable[..., Any] = lambda network, *inputs: network(*inputs)
    reads: Callable[[Answers], Any] = lambda answers: None
    says: Any = None
    tolerance: float | None = None


def layers(name: str, count: int) -> tuple[str, ...]:
    """The states of an LSTM's layers, one above the other."""
    return tuple(f"{name}_{quantity}{depth}" for depth in range(count) for quantity in "hc")


NO_STATE = "it carries no state from one call to the next"
COARSE = 1e-4
"""onnxruntime's Sigmoid is off by up to 9e-8 however small its answer is, and to noise that is 0.002."""

NETWORKS = {
    "resemblyzer": Published(
        resemblyzer,
        ("mels:float32[batch,time,40]=0..0.1",),
        layers("lstm", 3),
        None,
        _voices,
        reads=_same_voice,
        says=True,
    ),
    "instate": Published(
        instate,
        ("x:int64[batch,time]", "lengths:int64[batch]"),
        layers("lstm", 1),
        None,
        _surnames,
        reads=_languages,
        says=["bengali", "malayalam"],
    ),
    "legere": Published(
        legere, ("images:float32[batch,1,32,width]=-1..1",), (), NO_STATE, _line, reads=_read, says=["sequence 2024"]
    ),
    "attacut": Published(WordStarts, (), (), NO_STATE, _thai, reads=_cut, says="ฉัน|กิน|ข้าว|ที่|บ้าน|กับ|แม่"),
    "g2p-fa encoder": Published(
        lambda: g2p_fa().encoder,
        (),
        layers("rnn", 2),
        None,
        _letters,
        lambda network, letters: [each.transpose(0, 1) for each in network(letters.T)],
    ),
    "g2p-fa decoder": Published(
        lambda: g2p_fa().decoder,
        ("input:int64[batch]",),
        ("hidden", "cell"),
        "its input 'input' is not one a step",
        _first_step,
        reads=lambda answers: PHONES[int(answers["prediction"].argmax()) - 3],
        says="s",
    ),
    "parsernaam": Published(
        parsernaam,
        (),
        layers("lstm", 2),
        None,
        _names,
        reads=lambda answers: answers["out"].argmax(1).tolist(),
        says=[1, 0],  # first, last
    ),
    "silero-vad": Published(
        Silero,
        ("audio:float32[batch,576]=-0.5..0.5",),
        ("state",),
        "its input 'audio' is not one a step",
        _frame,
        tolerance=COARSE,
    ),
}
