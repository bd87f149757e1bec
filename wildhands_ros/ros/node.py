"""The node: images in, hands out. It only carries messages; the builders beside it make them and the estimator finds the hands."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection2DArray
from visualization_msgs.msg import MarkerArray

from ..detection.base import TOPIC, TRACKS
from ..detection.tracks import MAX_GAP
from ..geometry.calibration import CalibrationError, IntrinsicsSource
from ..geometry.camera import Camera
from ..msg import HandArray, HandMeshTopology
from ..structures import Detection, FrameEstimate, Side
from ..visualization.overlay import draw_frame
from .camera_info import calibration
from .detections import detections
from .diagnostics import Health, diagnostic_array, header_fault
from .images import decode_compressed, decode_image, encode_image
from .markers import MarkerBuilder
from .messages import hand_array, mesh_topology
from .pairing import StampPairs
from .parameters import ParameterError, Parameters, declare
from .refusals import InputRefused
from .transforms import transforms
from .worker import NewestSlot, Worker

if TYPE_CHECKING:
    from ..estimator import Estimator

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # ROS 2 Humble
    from rclpy.qos_event import SubscriptionEventCallbacks


def make_estimator(parameters: Parameters) -> Estimator:
    """The estimator that the parameters ask for.

    :raises ValueError, OSError, ImportError: a file or a setting cannot be used; the message says what to do.
    """
    # Late: torch takes seconds to import, and the node should be seen before.
    from ..estimator import Estimator

    return Estimator(parameters.estimator)


class WildHandsNode(Node):
    """Topics and parameters are in README.md and config/wildhands.yaml."""

    def __init__(self, make_estimator: Callable[[Parameters], Estimator] = make_estimator):
        """Starts working at once; ``close`` ends it.

        :raises ParameterError: a parameter's value cannot be used.
        """
        super().__init__("wildhands")
        self.parameters = declare(self)
        self._make_estimator = make_estimator
        self._health = Health()
        self._camera_info: CameraInfo | None = None
        self._camera_cache: tuple | None = None
        self._last_stamp: int | None = None
        self._markers_due = 0.0
        self._make_outputs()
        # Not the node's clock: a simulated one may stand still, and that is when diagnostics matter.
        self.create_timer(1.0, self._once_a_second, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._start()

    def close(self) -> None:
        """Stops listening and waits for the frame in work."""
        self._stop()

    def _make_outputs(self) -> None:
        latched = QoSProfile(depth=len(Side), durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._hands = self.create_publisher(HandArray, "hands", 10)
        self._topology = self.create_publisher(HandMeshTopology, "hands/mesh_topology", latched)
        self._markers = self.create_publisher(MarkerArray, "hands/markers", 1)
        self._debug_image = self.create_publisher(Image, "hands/debug_image", 1)
        self._tf = self.create_publisher(TFMessage, "/tf", 100)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)

    def _start(self) -> None:
        """Makes what exists only while working: inputs and the worker, which loads the estimator first."""
        self._slot: NewestSlot[tuple[Image | CompressedImage, Detection2DArray | None]] = NewestSlot()
        self._pairs = StampPairs() if self.parameters.detector__type == TOPIC else None
        self._fresh: Detection2DArray | None = None
        fixed = {
            "reliable": ReliabilityPolicy.RELIABLE,
            "auto": ReliabilityPolicy.BEST_EFFORT,
            "best_effort": ReliabilityPolicy.BEST_EFFORT,
        }
        self._listen_to_images(fixed[self.parameters.image_reliability])
        latest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._inputs = [self.create_subscription(CameraInfo, "camera_info", self._on_camera_info, latest)]
        if self.parameters.detector__type in (TOPIC, TRACKS):
            self._inputs.append(self.create_subscription(Detection2DArray, "detections", self._on_detections, 10))
        self._worker = Worker(self._work, self._slot)

    def _listen_to_images(self, reliability: ReliabilityPolicy) -> None:
        compressed = self.parameters.image_transport == "compressed"
        self._image = self.create_subscription(
            CompressedImage if compressed else Image,
            "image/compressed" if compressed else "image",
            self._on_image,
            QoSProfile(depth=1, reliability=reliability),
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible_qos),
        )

    def _match_publishers(self) -> None:
        """Follows image_reliability: auto, once the publishers are known."""
        offered = {info.qos_profile.reliability for info in self.get_publishers_info_by_topic(self._image.topic_name)}
        wanted = ReliabilityPolicy.RELIABLE if offered == {ReliabilityPolicy.RELIABLE} else ReliabilityPolicy.BEST_EFFORT
        if offered and wanted != self._image.qos_profile.reliability:
            self.destroy_subscription(self._image)
            self._listen_to_images(wanted)

    def _stop(self) -> None:
        """Frees what ``_start`` made."""
        for subscription in (self._image, *self._inputs):
            self.destroy_subscription(subscription)
        self._worker.stop()

    def _on_image(self, message: Image | CompressedImage) -> None:
        if self._pairs is None:
            self._health.image_received(time.monotonic(), self._slot.put((message, None)))
            return
        lost = self._pairs.images_dropped
        pair = self._pairs.add_image(message)
        self._health.image_received(time.monotonic(), self._put_pair(pair))
        if self._pairs.images_dropped > lost:
            self._refuse(InputRefused("no_detections", "images come without detections of the same stamp: is the detector running?"))

    def _on_detections(self, message: Detection2DArray) -> None:
        if self._pairs is None:
            self._fresh = message  # for the next image that is worked on
        else:
            self._put_pair(self._pairs.add_detections(message))

    def _put_pair(self, pair: tuple | None) -> bool:
        return pair is not None and self._slot.put(pair)

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._camera_info = message

    def _on_incompatible_qos(self, _event) -> None:
        text = f"a publisher of {self._image.topic_name} is best effort, but image_reliability is reliable: set it to auto"
        if self._health.explain_silence(text):
            self.get_logger().warning(text)

    def _work(self) -> None:
        """The worker's thread."""
        try:
            estimator = self._make_estimator(self.parameters)
            self._publish_topology(estimator)
        except Exception as error:
            if not self.context.ok():
                return  # shut down while loading
            expected = isinstance(error, ValueError | OSError | ImportError)
            text = " ".join(str(error).split()) if expected else traceback.format_exc()
            self._health.failed(f"no hands will be published: {text}")
            self.get_logger().fatal(f"no hands will be published: {text}")
            return
        markers = MarkerBuilder(estimator.faces)
        self._health.ready()
        self.get_logger().info("ready")
        while (item := self._slot.take()) is not None:
            try:
                self._process(estimator, markers, *item)
            except InputRefused as refusal:
                self._refuse(refusal)
            except Exception:
                if not self.context.ok():
                    break  # publishing fails once the node is being shut down
                self._refuse(InputRefused("internal_error", f"a frame failed; this is a bug, please report it:\n{traceback.format_exc()}"))
                estimator.reset()
        estimator.close()

    def _process(
        self, estimator: Estimator, markers: MarkerBuilder, message: Image | CompressedImage, found: Detection2DArray | None
    ) -> None:
        start = time.monotonic()
        image = decode_image(message) if isinstance(message, Image) else decode_compressed(message)
        fault = header_fault(message.header)
        if self._health.note("header", fault):
            self.get_logger().warning(fault)
        camera, intrinsics = self._camera(message.header.frame_id, image.shape[1], image.shape[0])
        stamp = Time.from_msg(message.header.stamp).nanoseconds
        if self._last_stamp is not None and stamp < self._last_stamp:
            estimator.reset()  # a bag started over, or the clock was set back
        self._last_stamp = stamp
        given = self._given(self._fresh_detections(stamp) if found is None else found, *image.shape[1::-1])
        frame = estimator(image, camera, stamp=stamp / 1e9, detections=given)
        self._publish(estimator, markers, message, image, frame, intrinsics)
        age = (self.get_clock().now().nanoseconds - stamp) / 1e9
        self._health.frame_done(time.monotonic(), age, time.monotonic() - start, len(frame.hands), intrinsics.name.lower())

    def _fresh_detections(self, stamp: int) -> Detection2DArray | None:
        """Those that came since the last image, unless they are too old to say where hands are at ``stamp`` (nanoseconds)."""
        message, self._fresh = self._fresh, None
        if message is None or abs(stamp - Time.from_msg(message.header.stamp).nanoseconds) > 1e9 * MAX_GAP:
            return None
        return message

    def _given(self, message: Detection2DArray | None, width: int, height: int) -> list[Detection] | None:
        """The hands of a detections message; says once what else is in it."""
        if message is None:
            return None
        found, left_out = detections(message, self.parameters.labels, width, height)
        self._health.detections_left_out(left_out)
        text = "" if found or not left_out else f"no hands among the detections, but {', '.join(left_out)}: see detector.*_class_ids"
        if self._health.note("detections", text):
            self.get_logger().warning(text)
        return found

    def _camera(self, frame_id: str, width: int, height: int) -> tuple[Camera, IntrinsicsSource]:
        """Of an image of this size.

        :raises InputRefused: no CameraInfo, or none that fits.
        """
        if self.parameters.intrinsics == "guess":
            camera = Camera.guess(width, height)
            text = f"intrinsics are guessed (focal length {camera.focal:.0f} px): depths are not metric, they scale with the true one"
            if self._health.note("guess", text):
                self.get_logger().warning(text)
            return camera, IntrinsicsSource.GUESS
        if self.parameters.intrinsics == "horizontal_fov":
            return Camera.from_fov(width, height, self.parameters.horizontal_fov), IntrinsicsSource.FIELD_OF_VIEW
        info = self._camera_info
        if info is None:
            raise InputRefused(
                "no_camera_info",
                f"images come, but no CameraInfo on {self.resolve_topic_name('camera_info')}: start the camera's calibrated driver, remap "
                "camera_info, or set intrinsics to horizontal_fov or guess",
            )
        differ = f"CameraInfo is of frame {info.header.frame_id!r}, the image of {frame_id!r}: do they belong to one camera?"
        if self._health.note("frame", differ if info.header.frame_id != frame_id else ""):
            self.get_logger().warning(differ)
        key = (calibration(info), width, height)
        if self._camera_cache is None or self._camera_cache[0] != key:
            try:
                self._camera_cache = key, key[0].camera(width, height, self.parameters.rectified)
            except CalibrationError as error:
                raise InputRefused("bad_camera_info", str(error)) from error
        return self._camera_cache[1]

    def _publish(
        self,
        estimator: Estimator,
        markers: MarkerBuilder,
        message: Image | CompressedImage,
        image,
        frame: FrameEstimate,
        intrinsics: IntrinsicsSource,
    ) -> None:
        """Everything about one frame; what costs is built only for listeners."""
        header = message.header
        self._hands.publish(hand_array(frame, header, intrinsics, estimator.hand_model[Side.RIGHT].name, self.parameters.publish_vertices))
        if self.parameters.tf != "off" and frame.hands and header.frame_id and self._tf.get_subscription_count():
            self._tf.publish(transforms(frame.hands, header, self.parameters.tf_prefix, joints=self.parameters.tf == "joints"))
        if self._markers.get_subscription_count() and time.monotonic() >= self._markers_due:
            self._markers_due = time.monotonic() + 1 / self.parameters.markers_max_rate
            self._markers.publish(markers.build(frame.hands, header))
        if self._debug_image.get_subscription_count():
            faces = {side: estimator.faces(side) for side in Side}
            self._debug_image.publish(encode_image(draw_frame(image, frame, faces), header))

    def _publish_topology(self, estimator: Estimator) -> None:
        for side in Side:
            self._topology.publish(mesh_topology(side, estimator.hand_model[side]))

    def _once_a_second(self) -> None:
        if self.parameters.image_reliability == "auto":
            self._match_publishers()
        topic = self._image.topic_name
        snapshot = self._health.snapshot(time.monotonic(), topic, self.count_publishers(topic))
        name = self.get_fully_qualified_name().lstrip("/")
        self._diagnostics.publish(diagnostic_array(snapshot, name, self.get_clock().now().to_msg()))

    def _refuse(self, refusal: InputRefused) -> None:
        if self._health.refuse(refusal, time.monotonic()):
            self.get_logger().warning(f"{refusal.name}: {refusal}")


def main(arguments: list[str] | None = None) -> int:
    """Runs the node until SIGINT or SIGTERM; returns the exit code."""
    rclpy.init(args=arguments)
    node = None
    try:
        node = WildHandsNode()
        rclpy.spin(node)
    except ParameterError as error:
        print(f"wildhands_node: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
