"""Networks as people write them who have not heard of edgeseq, by theme."""
