"""Rewrites of a traced graph, one a file. Each says what it requires and ensures, and whether it changed anything."""

from edgeseq_export.passes.anonymous import Anonymous
from edgeseq_export.passes.fixed_time import FixedTime
from edgeseq_export.passes.learned_states import LearnedStates
from edgeseq_export.passes.scan import Scan
from edgeseq_export.passes.unroll import Unroll

__all__ = ["Anonymous", "FixedTime", "LearnedStates", "Scan", "Unroll"]
