"""Runs networks on the runtimes of this machine."""

import os

# Before onnxruntime is imported: from version 1.29 on, its wheels for Linux report to Microsoft which models are loaded
# and keep an identifier of the machine, unless this is set. Whoever wants that sets it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
