#!/bin/bash
# Trains the default network from its first stage on, on one GPU, meant for ten minutes and sixteen cores: renders the pool,
# trains in bfloat16, exports the weights (14 MB) and compares them with the bundled ones on renders and photographs.
#
#     tools/train_on_gpu.sh [KEY=VALUE ...]     # settings that override those of config/training/gpu.yaml, such as steps=3000
#
# Run it again to resume. OUTPUT names the run's folder (default: training_output/gpu), PHOTOS the folder with RHD and
# OneHand10K, COUNT the renders of the comparison. New weights replace the bundled ones only if nothing gets worse.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
output=${OUTPUT:-training_output/gpu}
wildhands() { "$python" -m wildhands_ros.cli.main "$@"; }

"$python" -c 'import torch; print("trained on:", torch.cuda.get_device_name() if torch.cuda.is_available() else "the CPU, slowly: PyTorch finds no GPU")'
time wildhands train config/training/gpu.yaml --output "$output" "$@"
wildhands export-onnx --checkpoint "$output/weights.safetensors" "$output/weights.onnx"
ls -l "$output/weights.onnx"
for checkpoint in default "$output/weights.onnx"; do
    echo "== $checkpoint"
    wildhands evaluate synthetic --split val --count "${COUNT:-120}" --no-fit --checkpoint "$checkpoint"
    for set in rhd onehand10k; do
        [ -d "${PHOTOS:-../shared/real_hands}/$set" ] || continue
        wildhands evaluate photos "${PHOTOS:-../shared/real_hands}/$set" --checkpoint "$checkpoint"
    done
done
