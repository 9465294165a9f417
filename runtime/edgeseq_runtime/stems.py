"""What a state is called before and after a call: `h` and `hn`, `state` and `stateN`, `l1_in` and `l1_out`."""

import re
from itertools import product

_MARKS = frozenset(
    [
        "in",
        "input",
        "inp",
        "prev",
        "previous",
        "old",
        "past",
        "initial",
        "init",
        "start",
        "i",
        "out",
        "output",
        "next",
        "new",
        "updated",
        "n",
        "last",
        "final",
        "present",
        "cur",
        "current",
        "o",
        "t",
    ]
)
"""Words that tell which side of a call a name stands on, and nothing else."""

_SYNONYMS = {
    **dict.fromkeys(("h", "hx", "hid", "hidden", "hs"), "h"),
    **dict.fromkeys(("c", "cx", "cell", "cs"), "c"),
    **dict.fromkeys(("cache", "caches"), "cache"),
}

_STATE_WORDS = frozenset(["h", "c", "cache", "state", "states", "rnn", "lstm", "gru", "memory", "mem", "carry", "past"])

_DATA_WORDS = frozenset(
    [
        "x",
        "y",
        "audio",
        "signal",
        "wav",
        "waveform",
        "wave",
        "frame",
        "frames",
        "speech",
        "feature",
        "features",
        "feat",
        "feats",
        "data",
        "mel",
        "image",
        "sample",
        "samples",
        "token",
        "tokens",
        "ids",
        "id",
        "pcm",
        "noisy",
        "enhanced",
        "clean",
        "mix",
        "spectrum",
        "spec",
        "mag",
        "text",
        "left",
        "right",
    ]
)
"""What the data themselves are called: an `audio_in` that becomes an `audio_out` is no state."""

_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def stems(name: str) -> tuple[frozenset[tuple[str, ...]], ...]:
    """What may be the state's own name in a tensor's name: first with every number, then without a 0 at the end.

    Empty where nothing is left, or only what data are called.
    """
    words = _words(name)
    kept = [word for word in words if word not in _MARKS]
    choices = [kept]
    if kept[-1:] == ["0"]:
        choices.append(kept[:-1])
    found = (frozenset(_stem(words) for words in rest) - {()} for rest in ([choices[0]], choices))
    return tuple(frozenset(each) for each in found)


def alike(one: str, other: str, loosely: bool) -> bool:
    """Whether two names tell of the same state. loosely: `h0` and `hn` are both h."""
    return any(a == b for a, b in product(stems(one)[loosely], stems(other)[loosely]))


def like_state(name: str) -> bool:
    """Whether a name has a word that states are called by."""
    return any(word in _STATE_WORDS for word in _words(name))


def _words(name: str) -> list[str]:
    words: list[str] = []
    for part in _PARTS.findall(re.sub(r"\b([hc]x?|state)n\b", r"\1_n", name.split("::")[-1])):
        word = part.lower()
        words.append(_SYNONYMS.get(word, word))
    return words


def _stem(words: list[str]) -> tuple[str, ...]:
    if all(word in _DATA_WORDS or word.isdigit() for word in words):
        return ()
    plain = [word for word in words if word not in ("state", "states")]
    named = [word for word in plain if not word.isdigit()]
    return tuple(sorted(plain if named else words))
