"""The file that goes to the device equals the network, at every length, whole and in pieces."""

import pytest
from their_model import trained


@pytest.mark.edgeseq_grid(batches=(1, 3), times=(1, 7, 50), chunks=(1, 7))
def test_the_file_equals_the_network(exported, assert_parity):
    network = trained()
    file = exported(network, inputs=["x:float32[batch,time,12]"])  # or a file that lies in your repository
    assert_parity(file, network)
