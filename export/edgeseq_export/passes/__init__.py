"""Rewrites of a traced graph, one a file. Each says what it requires and ensures, and whether it changed anything."""

from edgeseq_export.passes.anonymous import Anonymous
from edgeseq_export.passes.learned_states import LearnedStates

__all__ = ["Anonymous", "LearnedStates"]
