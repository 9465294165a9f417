"""What was measured earlier, in the user's cache folder: small JSON files that may be lost at any time."""

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from edgeseq_runtime.atomic import write_bytes
from edgeseq_runtime.errors import FileError

VARIABLE = "EDGESEQ_CACHE"
"""The environment variable that names another folder; where it is empty, nothing is kept."""


def folder(environment: Mapping[str, str] | None = None, platform: str = sys.platform) -> Path | None:
    """Where this user's caches are; None where there is no such place."""
    here = os.environ if environment is None else environment
    if (given := here.get(VARIABLE)) is not None:
        return Path(given) if given else None
    home = here.get("USERPROFILE" if platform == "win32" else "HOME")
    if platform == "win32":
        base = here.get("LOCALAPPDATA") or (home and f"{home}/AppData/Local")
    elif platform == "darwin":
        base = home and f"{home}/Library/Caches"
    else:
        named = here.get("XDG_CACHE_HOME", "")
        base = named if os.path.isabs(named) else home and f"{home}/.cache"
    return Path(base, "edgeseq") if base else None


def recall(kind: str, key: Mapping[str, Any]) -> Any:
    """What was remembered under a key of plain JSON values, or None."""
    file = _file(kind, key)
    if file is None:
        return None
    try:
        stored = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):  # not there, not readable, or damaged: as if it had never been
        return None
    return stored.get("value") if isinstance(stored, dict) and stored.get("key") == key else None


def remember(kind: str, key: Mapping[str, Any], value: Any) -> None:
    """Keep a value, where that can be done: a folder that cannot be written is no error.

    A key has a file of its own, which is there as a whole or not at all, so that processes do not disturb each other.
    """
    file = _file(kind, key)
    if file is not None:
        with suppress(FileError):
            write_bytes(file, json.dumps({"key": key, "value": value}, indent=1).encode())


def _file(kind: str, key: Mapping[str, Any]) -> Path | None:
    base = folder()
    name = sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    return base / kind / f"{name}.json" if base is not None else None
