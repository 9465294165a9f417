"""Random inputs that a proof can tell something by."""

import numpy as np
from edgeseq_runtime.draw import draw
from edgeseq_runtime.signature import Tensor


def test_a_mask_has_both_values_and_masks_no_row_as_a_whole():
    mask = draw(Tensor("mask", "bool", ("batch", "time")), {"batch": 40, "time": 6}, np.random.default_rng(0))
    assert mask.dtype == bool
    assert mask.shape == (40, 6)
    assert 0.1 < mask.mean() < 0.4
    assert not mask.all(1).any()
    assert not draw(Tensor("open", "bool", ("batch", 1)), {"batch": 9}, np.random.default_rng(0)).any()
