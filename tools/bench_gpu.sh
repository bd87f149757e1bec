#!/bin/bash
# Measures networks and node on a GPU in one run: 1 to 8 hands in an image, 1 to 4 cameras, age over DDS.
#
#     tools/bench_gpu.sh [seconds of each stream; default: 20]
#     REHEARSE=1 tools/bench_gpu.sh 1         # the same on a machine without a GPU, to see that it runs to its end
#
# Writes bench_gpu.json and prints the tables for docs/performance.md. Run it on a machine without other work.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
if [ -z "${REHEARSE:-}" ]; then
    "$python" -c 'import sys, torch; sys.exit(None if torch.cuda.is_available() else "PyTorch finds no GPU: install the extra gpu and a driver")'
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || echo "no nvidia-smi here"
fi
"$python" -m wildhands_ros.cli.main bench default released hands_curve end_to_end cameras_curve \
    --seconds "${1:-20}" --json bench_gpu.json
"$python" - <<'END'
import json

figures = json.load(open("bench_gpu.json"))
print("\n| hands in an image | " + " | ".join(figures["network_ms_by_hands"]["default"]) + " |")
print("|---" * (1 + len(figures["network_ms_by_hands"]["default"])) + "|")
for name, times in figures["network_ms_by_hands"].items():
    print(f"| {name} ({figures[name]['runtime']}) | " + " | ".join(f"{ms} ms" for ms in times.values()) + " |")
print("\n| cameras | messages per second and camera | age, median / p95 | memory of all nodes |\n|---|---|---|---|")
for key, text, memory in (("cameras", "", "processes"), ("cameras_in_one_process", ", one process", "one_process")):
    for count, runs in figures[key].items():
        for run in runs:
            ages = f"{run['age_p50_ms']} / {run['age_p95_ms']} ms"
            print(f"| {count}{text} | {run['fps']} | {ages} | {figures['cameras_rss_mb'][count][memory]} MB |")
END
