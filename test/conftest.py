"""Settings for the whole suite."""

import os

import pytest

# The test machine's cores are few and shared: small tensor work is slower with threads than without. Before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def client():
    """A node of the test's own that hears diagnostics."""
    from diagnostic_msgs.msg import DiagnosticArray
    from ros_graph import Client

    client = Client()
    client.listen("/diagnostics", DiagnosticArray)
    yield client
    client.close()
