"""Shows what the time of a frame with two hands consists of, and what it cannot fall below on this processor.

    python tools/frame_limits.py

Prints a table in Markdown: milliseconds of processor time on one core (the least of many runs, so that other work on
the machine hardly matters), and their ratio to the arithmetic of the trunk at the rate of this core's matrix products.
The two hands run side by side, so a part of the network counts once; all other parts are of both hands. `wildhands
bench` measures the same frame as a whole, by the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice

import cv2
import numpy as np
import onnxruntime
import rclpy
from rclpy.serialization import serialize_message
from std_msgs.msg import Header

from wildhands_ros.benchmark.clip import RATE, load_clip
from wildhands_ros.benchmark.limits import gemm_gflops, trunk_limit_ms
from wildhands_ros.benchmark.networks import BOXES
from wildhands_ros.benchmark.stages import WARM_UP
from wildhands_ros.config import EstimatorConfig
from wildhands_ros.estimator import Estimator
from wildhands_ros.geometry.calibration import IntrinsicsSource
from wildhands_ros.network.network_file import DEFAULT_NAME, WEIGHTS_PREFIX, NetworkFile, open_network
from wildhands_ros.network.onnx_file import graph_up_to, read_weights
from wildhands_ros.network.preprocessing import NetworkInput, preprocess
from wildhands_ros.ros.images import decode_image, encode_image
from wildhands_ros.ros.messages import hand_array
from wildhands_ros.ros.share import share_folder
from wildhands_ros.runtime.half_decoder import ENCODER_OUTPUTS, HalfDecoder
from wildhands_ros.runtime.signature import RIGHT, encoder_output_sizes

REPEATS = 100


def least_ms(call: Callable[[], object]) -> float:
    """Returns the least processor time of many calls in milliseconds."""
    seconds = []
    for _ in range(REPEATS):
        start = time.thread_time()
        call()
        seconds.append(time.thread_time() - start)
    return 1e3 * min(seconds)


def network_parts(file: NetworkFile, inputs: NetworkInput) -> Iterator[tuple[str, float]]:
    """Measures trunk and decoder of one hand on one thread."""
    sizes = encoder_output_sizes(file.config)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    content = graph_up_to(file.path.read_bytes(), {name: sizes[name] for name in ENCODER_OUTPUTS})
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    feed = {node.name: inputs.arrays()[node.name][:1] for node in session.get_inputs()}
    yield "trunk (ONNX Runtime), one hand", least_ms(lambda: session.run(None, feed))
    features, position = (array.ravel() for array in session.run(list(ENCODER_OUTPUTS), feed))
    assert file.mean_pose is not None
    weights = {name.removeprefix(WEIGHTS_PREFIX): value for name, value in read_weights(file.path).items()}
    decoder = HalfDecoder(weights, file.mean_pose)
    yield "decoder, one hand", least_ms(lambda: decoder(features, position, RIGHT, 1.0, inputs.anchor[0], 0.0))


def main() -> None:
    """Measures and prints the table."""
    cv2.setNumThreads(1)
    clip, file = load_clip(share_folder("demo")), open_network(DEFAULT_NAME)
    image, turns = clip.frames[0], np.zeros(len(BOXES))
    header = Header(frame_id="camera")
    message = encode_image(image, header)

    def cut() -> NetworkInput:
        return preprocess(image, clip.camera, BOXES, file.config, file.config.preprocessing, turns)

    limit = trunk_limit_ms(gemm_gflops(), hands=1, cores=1)
    rows = [
        ("arithmetic of the trunk, one hand", limit),
        ("image from the message", least_ms(lambda: decode_image(message))),
    ]
    rows += [("crops and KPE, two hands", least_ms(cut)), *network_parts(file, cut())]
    estimator = Estimator(EstimatorConfig(runtime="onnxruntime"))
    estimates = [
        estimator(frame, clip.camera, i / RATE) for i, frame in enumerate(islice(clip.endless(), WARM_UP + REPEATS))
    ][WARM_UP:]
    for stage in ("find", "track", "fit", "pose"):
        rows.append((f"{stage}, two hands", 1e3 * min(estimate.seconds[stage] for estimate in estimates)))
    fresh = iter(estimates)
    build = least_ms(lambda: hand_array(next(fresh), header, IntrinsicsSource.CAMERA_INFO, "open"))
    rclpy.init()
    last = hand_array(estimates[-1], header, IntrinsicsSource.CAMERA_INFO, "open")
    rows += [
        ("mesh, visibility and message, two hands", build),
        ("serialisation", least_ms(lambda: serialize_message(last))),
    ]
    print("| part | ms | of the limit |\n|---|---|---|")
    for name, ms in rows:
        print(f"| {name} | {ms:.2f} | {ms / limit:.2f} |")
    total = sum(ms for _, ms in rows[1:])
    print(f"| **all but the first row** | {total:.2f} | {total / limit:.2f} |")


if __name__ == "__main__":
    main()
