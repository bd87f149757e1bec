"""Settings for the whole suite."""

import os

# The test machine's cores are few and shared: small tensor work is slower with threads than without. Before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
