"""Networks that others published, from their packages: exported, proven, and beside their authors' own answers."""

from functools import cache

import numpy as np
import pytest
import torch
from edgeseq_export import Grid, convert, verify
from edgeseq_export.sources.module import from_module
from edgeseq_export.sources.scripted import open_scripted
from edgeseq_runtime import load
from edgeseq_runtime.errors import ExportError
from published import COARSE, NETWORKS, PHONES, attacut, file, silero_archive, vowel

SMALL = Grid(batches=(1, 3), times=(1, 7), chunks=(3,))
EXACT = 1e-5
"""Of an answer's largest entry; both sides are float32."""


@cache
def exported(name):
    """The source and the file, which is not proven."""
    network = NETWORKS[name]
    source = from_module(network.network(), inputs=network.inputs, name=name)
    return source, convert(source)


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=EXACT * float(np.abs(expected).max()))


def proven(name, plan):
    source, content = exported(name)
    report = verify(content, source, plan=plan, tolerance=NETWORKS[name].tolerance)
    assert report.passed, (report.problems, report.failures[:3])


@pytest.mark.parametrize("name", NETWORKS)
def test_a_published_network_answers_as_its_authors_does(name):
    network = NETWORKS[name]
    source, content = exported(name)
    signature = source.signature
    assert tuple(state.input for state in signature.states) == network.states
    assert (signature.streamable, signature.reason) == (network.reason is None, network.reason)
    proven(name, SMALL)
    real = network.real()
    with torch.no_grad():
        given = network.forward(network.network().eval(), *real.values())
    expected = [given] if isinstance(given, torch.Tensor) else given
    answer = load(content).run({each: tensor.numpy() for each, tensor in real.items()}, states=True)
    for actual, tensor in zip(answer.values(), expected, strict=False):  # states that were lifted come last
        close(actual, tensor.numpy())
    assert network.reads({each: torch.from_numpy(array) for each, array in answer.items()}) == network.says


@pytest.mark.full
@pytest.mark.parametrize("name", NETWORKS)
def test_a_published_network_passes_the_whole_proof(name):
    proven(name, Grid())


@pytest.mark.full
def test_a_word_is_spelled_by_encoder_and_decoder():
    letters = NETWORKS["g2p-fa encoder"].real()["src"].numpy()
    state = load(exported("g2p-fa encoder")[1]).run(letters)
    hidden, cell = (np.swapaxes(state[name], 0, 1) for name in ("hidden", "cell"))
    decoder, token, phones = load(exported("g2p-fa decoder")[1]), 1, ""
    while token != 2:
        given = {"input": np.array([token]), "hidden": hidden, "cell": cell}
        answer = decoder.run(given, states=True)
        hidden, cell = answer["hidden_next"], answer["cell_next"]
        token = int(answer["prediction"].argmax())
        phones += PHONES[token - 3] if token > 2 else ""
    assert phones == "sælɒːm"


def frames():
    """(1, samples) of 16 kHz: a voice between silences; and its frames, each with the 64 samples before."""
    silence = torch.zeros(512 * 8)
    sound = torch.cat([silence, vowel(120, 0.512), silence])[None]
    return sound, [torch.nn.functional.pad(sound, (64, 0))[:, at : at + 576] for at in range(0, sound.shape[1], 512)]


@pytest.fixture
def silero(tmp_path):
    """The part of the archive that takes and gives its state, as an archive."""
    path = tmp_path / "silero.ts"
    torch.jit.save(silero_archive()._model, path)
    source = open_scripted(path, inputs=["x:float32[batch,576]=-0.5..0.5"])
    return source, convert(source)


def test_a_published_archive_hears_as_it_does_by_itself(silero):
    source, content = silero
    assert [(state.input, state.output) for state in source.signature.states] == [("state", "output1")]
    report = verify(content, source, tolerance=COARSE)
    assert report.passed, (report.problems, report.failures[:3])
    sound, parts = frames()
    expected = silero_archive().audio_forward(sound, 16000)[0].numpy()
    for model, audio, speech in ((load(content), "x", "output0"), (load(exported("silero-vad")[1]), "audio", None)):
        heard, state = [], np.zeros((2, 1, 128), np.float32)
        for part in parts:
            answer = model.run({audio: part.numpy(), "state": state}, states=True)
            first, state = answer.values() if speech is None else (answer[speech], answer["output1"])
            heard.append(first.item())
        close(heard, expected)
        assert (np.array(heard) > 0.5).tolist() == [False] * 8 + [True] * 16 + [False] * 8


@pytest.mark.parametrize(
    ("open_it", "message"),
    [
        (
            lambda: open_scripted(
                file("silero-vad", "silero_vad/data/silero_vad.jit"),
                inputs=["x:float32[batch,512]", "sr:int64[]=16000..16000"],
            ),
            r"as it keeps a state in self\._state, self\._context",
        ),
        (
            lambda: from_module(attacut(), inputs=["inputs.0:int64[batch,time]", "inputs.1:int64[batch]=1..9"]),
            "an axis of 'out' moves with 'batch' and with 'time'",
        ),
    ],
)
def test_what_a_published_network_does_that_a_file_cannot_is_told(open_it, message):
    with pytest.raises(ExportError, match=message):
        open_it()
