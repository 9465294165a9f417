"""JSON text of plain values: numbers that are not finite, which JSON cannot hold, become null."""

import json
import math
from collections.abc import Mapping
from typing import Any


def to_text(value: Any, indent: int | None = None) -> str:
    """A plain value as JSON."""
    return json.dumps(_finite(value), indent=indent, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
