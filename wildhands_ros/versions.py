"""Versions of what caches keep. This is the one place that says which version to raise.

Cached files are named after a version, so renaming or rewriting code never discards a cache. When a change alters what
is computed, ``test/test_versions.py`` fails and names the constant to raise here; ``python test/pinned_outputs.py``
then pins the new outputs.
"""

GRAPH = 2
"""Compiled and quantized networks: the graphs that ``network`` and ``runtime`` build from given weights."""

SYNTHETIC = 1
"""Frames of the synthetic world and their labels, for a given ``WorldConfig``."""

RECORDINGS = 3
"""Frames of the synthetic egocentric recordings and their labels, for a given seed."""

EXAMPLES = 1
"""Training examples: crops, KPE and targets that are made of given labelled images."""

DETECTOR_EXAMPLES = 1
"""The detector's training images: what is kept of frames, and of the first stage's proposals for the second stage."""

ABLATION = 1
"""Results of the ablation's training runs, for given features."""
