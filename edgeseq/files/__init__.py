"""Data files in and out, one format a module: npy, npz, csv, jsonl, and `-` for standard input and output."""

from edgeseq.files.answers import Answers
from edgeseq.files.inputs import read_inputs
from edgeseq.files.outputs import Results, write_results
from edgeseq.files.rows import Sequences

__all__ = ["Answers", "Results", "Sequences", "read_inputs", "write_results"]
