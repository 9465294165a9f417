"""Rewrites of a traced graph, one a file. Each says what it requires and ensures, and whether it changed anything."""

from edgeseq_export.passes.anonymous import Anonymous
from edgeseq_export.passes.learned_states import LearnedStates
from edgeseq_export.passes.lifted import Lifted
from edgeseq_export.passes.scan import Scan
from edgeseq_export.passes.shared import Shared
from edgeseq_export.passes.unroll import Unroll
from edgeseq_export.passes.values import Values

__all__ = ["Anonymous", "LearnedStates", "Lifted", "Scan", "Shared", "Unroll", "Values"]
