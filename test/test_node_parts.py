"""Parts of the node without a ROS graph: worker, stream, cameras, pairing, rejections, diagnostics."""

from __future__ import annotations

import threading
from functools import partial

import numpy as np
import pytest

pytest.importorskip("rclpy")

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.serialization import deserialize_message, serialize_message
from ros_samples import CAMERA, header
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray

from wildhands_ros.geometry.calibration import IntrinsicsSource
from wildhands_ros.ros.camera_info import camera_info
from wildhands_ros.ros.cameras import MATCHES_TO_RELY_ON, Cameras
from wildhands_ros.ros.detection_messages import HandClassIds
from wildhands_ros.ros.diagnostics import FrameStats, Health, NodeStatus, diagnostic_array, header_warning
from wildhands_ros.ros.external_detections import ExternalDetections
from wildhands_ros.ros.inputs import image_topic
from wildhands_ros.ros.pairing import CAPACITY, StampPairs
from wildhands_ros.ros.parameters import Parameters
from wildhands_ros.ros.rejections import InputRejected, Rejections, failure
from wildhands_ros.ros.stream import MAX_STRAYS, Stream, StreamTime
from wildhands_ros.ros.worker import Worker


def test_detections_with_a_negative_stamp_are_stale():
    """rclpy's Time raises an error for such a stamp, which counted as a bug of the node."""
    rejections = []
    detections = ExternalDetections(Health(rejections.append))
    message = Detection2DArray()
    message.header.stamp.sec = -5
    detections.add(message)
    assert detections.for_image(None, 10**9, 640, 480, HandClassIds(("right",), (), ())) is None
    assert "differ by 6.0 s" in rejections[0]


class TestWorker:
    def test_latest_frame_replaces_a_waiting_one_and_jobs_come_first(self):
        done: list[object] = []
        busy, go = threading.Event(), threading.Event()

        def process(frame):
            busy.set()
            assert go.wait(10)
            done.append(frame)

        worker = Worker("worker")
        worker.put_frame(partial(process, 1))
        assert busy.wait(10)
        assert [worker.put_frame(partial(process, number)) for number in (2, 3, 4)] == [False, True, True]
        job = worker.submit(lambda: done.append("job"))
        go.set()
        job.result(10)
        worker.submit(lambda: None).result(10)
        worker.stop()
        assert done in ([1, "job"], [1, "job", 4]), "stop may come before the last frame"

    def test_errors_of_jobs_are_returned_by_their_futures(self):
        worker = Worker("worker")
        with pytest.raises(ZeroDivisionError):
            worker.submit(lambda: 1 / 0).result(10)
        assert worker.submit(lambda: 5).result(10) == 5
        worker.stop()
        assert worker.submit(lambda: 6).cancelled()

    def test_stop_waits_for_the_jobs(self):
        done: list[int] = []
        worker = Worker("worker")
        for number in range(20):
            worker.submit(partial(done.append, number))
        worker.stop()
        assert done == list(range(20))

    def test_a_dropped_frame_is_not_processed(self):
        done: list[int] = []
        go = threading.Event()
        worker = Worker("worker")
        worker.submit(lambda: go.wait(10))
        worker.put_frame(partial(done.append, 1))
        worker.drop_frame()
        go.set()
        worker.submit(lambda: None).result(10)
        worker.stop()
        assert not done


SECOND = 10**9


class TestStream:
    @staticmethod
    def outcomes(*stamps: float, arrivals=None, frames=None, sizes=None) -> list[str]:
        """Returns the reset reason of each image, or the name of the rejection."""
        stream, outcomes = Stream(), []
        for number, stamp in enumerate(stamps):
            arrival = arrivals[number] if arrivals else 50 + number / 30
            frame, size = (frames or {}).get(number, "a"), (sizes or {}).get(number, (640, 480))
            try:
                outcomes.append(stream.add(round(stamp * SECOND), arrival, frame, size).reset)
            except InputRejected as rejection:
                outcomes.append(rejection.name)
        return outcomes

    def test_steady_stream_continues(self):
        assert self.outcomes(*(100 + n / 30 for n in range(60))) == [""] * 60

    def test_gap_is_not_a_clock_jump(self):
        assert self.outcomes(100, 160, 160.03, arrivals=(0, 60, 60.03)) == [""] * 3

    def test_single_late_image_is_rejected(self):
        assert self.outcomes(100, 100.1, 100.05, 100.2) == ["", "", "out_of_order", ""]

    def test_equal_stamps_are_accepted(self):
        assert self.outcomes(100, 100, 100) == [""] * 3

    def test_bag_played_again_starts_a_new_stream(self):
        assert self.outcomes(100, 105, 100, 100.1, arrivals=(0, 5, 5.1, 5.2)) == ["", "", "clock_jumped_back", ""]

    @pytest.mark.parametrize("length", [0.05, 0.3, 0.9])
    def test_short_bag_in_a_loop_is_not_rejected_forever(self, length):
        loop = [100 + n * length / 10 for n in range(10)]
        found = self.outcomes(*loop * 20)
        assert found.count("out_of_order") <= 20 * MAX_STRAYS
        assert found.count("") + found.count("clock_jumped_back") > 100

    def test_clock_jumps_forward_and_back(self):
        assert self.outcomes(100, 5000, 5000.03, 100.1) == ["", "clock_jumped_forward", "", "clock_jumped_back"]

    def test_new_frame_or_size_starts_a_new_stream(self):
        assert self.outcomes(100, 100.1, 100.2, 100.3, frames={2: "b", 3: "b"}) == ["", "", "frame_changed", ""]
        assert self.outcomes(100, 100.1, 100.2, sizes={1: (320, 240), 2: (320, 240)}) == ["", "size_changed", ""]
        assert self.outcomes(100, 99.9, frames={1: "b"}) == ["", "frame_changed"], (
            "a late image of another camera is not out of order"
        )

    def test_zero_stamps_are_replaced_by_the_time_of_arrival(self):
        stream = Stream()
        assert [stream.add(0, arrival, "a", (1, 1)) for arrival in (7.0, 7.1)] == [StreamTime(7.0), StreamTime(7.1)]
        assert stream.add(100 * SECOND, 7.2, "a", (1, 1)) == StreamTime(100.0, "stamps_changed")

    def test_negative_stamps_are_accepted(self):
        assert self.outcomes(-5, -4.9, 100)[:2] == ["", ""]


class TestCameras:
    @pytest.fixture
    def health(self):
        self.log = []
        return Health(self.log.append)

    @staticmethod
    def info(frame_id="camera", **fields):
        message = camera_info(CAMERA, header(frame_id=frame_id))
        for name, value in fields.items():
            setattr(message, name, value)
        return message

    def test_latest_camera_info_is_used(self, health):
        cameras = Cameras("/camera_info", health)
        with pytest.raises(InputRejected, match="/camera_info"):
            cameras.camera("camera", 640, 480, Parameters())
        cameras.add(self.info())
        camera, source = cameras.camera("camera", 640, 480, Parameters())
        np.testing.assert_array_equal(camera.k, CAMERA.k)
        assert source is IntrinsicsSource.CAMERA_INFO and cameras.camera("camera", 640, 480, Parameters())[0] is camera
        k = CAMERA.k.copy()
        k[0, 0] = 700
        cameras.add(self.info(k=k.ravel()))
        assert cameras.camera("camera", 640, 480, Parameters())[0].k[0, 0] == 700

    def test_rectified_images_use_p(self, health):
        cameras = Cameras("/camera_info", health)
        p = np.array([[500.0, 0, 320, 0], [0, 500, 240, 0], [0, 0, 1, 0]])
        cameras.add(self.info(p=p.ravel()))
        assert cameras.camera("camera", 640, 480, Parameters())[0].distortion_model == "plumb_bob"
        rectified, _ = cameras.camera("camera", 640, 480, Parameters(rectified=True))
        assert rectified.is_pinhole and rectified.k[0, 0] == 500

    def test_fisheye_distortion_is_kept(self, health):
        cameras = Cameras("/camera_info", health)
        cameras.add(self.info(distortion_model="equidistant", d=[0.01, 0.0, 0.0, 0.0]))
        camera, _ = cameras.camera("camera", 640, 480, Parameters())
        assert camera.distortion_model == "equidistant" and camera.d[0] == 0.01

    def test_constantly_different_frames_are_a_warning(self, health):
        cameras = Cameras("/camera_info", health)
        cameras.add(self.info("camera_link"))
        cameras.camera("camera_optical", 640, 480, Parameters())
        assert "camera_link" in self.log[0] and len(self.log) == 1

    def test_camera_info_of_another_camera_is_rejected(self, health):
        cameras = Cameras("/camera_info", health)
        cameras.add(self.info("left"))
        for _ in range(MATCHES_TO_RELY_ON):
            cameras.camera("left", 640, 480, Parameters())
        for _ in range(2):
            with pytest.raises(InputRejected, match="now in frame 'right'"):
                cameras.camera("right", 640, 480, Parameters())
        cameras.add(self.info("right"))
        cameras.camera("right", 640, 480, Parameters())

    def test_a_stray_image_in_the_frame_of_the_camera_info_does_not_stop_a_driver_whose_frames_differ(self, health):
        cameras = Cameras("/camera_info", health)
        cameras.add(self.info("camera_link"))
        for frame_id in ("", "camera_link", "", "camera_link", "camera_link", ""):
            cameras.camera(frame_id, 640, 480, Parameters())

    def test_intrinsics_without_camera_info(self, health):
        cameras = Cameras("/camera_info", health)
        camera, source = cameras.camera(
            "a", 640, 480, Parameters(intrinsics="horizontal_fov", horizontal_fov=np.pi / 2)
        )
        assert camera.k[0, 0] == pytest.approx(320) and source is IntrinsicsSource.FIELD_OF_VIEW
        assert cameras.camera("a", 640, 480, Parameters(intrinsics="guess"))[1] is IntrinsicsSource.GUESS
        assert "not metric" in self.log[0]


def stamped(sec: int) -> Image:
    return Image(header=header(sec))


def test_images_and_detections_are_paired_in_either_order():
    pairs = StampPairs()
    found = [Detection2DArray(header=header(sec)) for sec in range(4)]
    assert pairs.add_image(stamped(1)) is None
    assert pairs.add_detections(found[1]) == (stamped(1), found[1])
    assert pairs.add_detections(found[2]) is None
    assert pairs.add_image(stamped(2)) == (stamped(2), found[2])
    assert pairs.images_dropped == 0


def test_images_without_detections_are_dropped_and_counted():
    pairs = StampPairs()
    for sec in range(CAPACITY + 2):
        pairs.add_image(stamped(sec))
    assert pairs.images_dropped == 2
    assert pairs.add_detections(Detection2DArray(header=header(0))) is None
    assert pairs.add_detections(Detection2DArray(header=header(5))) is not None
    assert pairs.images_dropped == 5, "older images are dropped too"


def test_rejections_are_counted_by_name_and_logged_at_a_limited_rate():
    rejections = Rejections(log_period=5)
    first, second = InputRejected("zero_k", "K is zero"), InputRejected("truncated", "short")
    assert [rejections.add(first, now) for now in (0, 1, 4.9, 5.1)] == [True, False, False, True]
    assert rejections.add(second, 1.0), "another name is logged independently"
    assert rejections.counts == {"zero_k": 4, "truncated": 1} and rejections.last_message == "short"


def test_failures_are_named_by_their_cause():
    assert failure(MemoryError()).name == "out_of_memory"
    torch = pytest.importorskip("torch")
    assert failure(torch.OutOfMemoryError("CUDA out of memory")).name == "out_of_memory"
    assert failure(RuntimeError("boom")).name == "internal_error" and "boom" in str(failure(RuntimeError("boom")))


def test_missing_header_fields_are_named():
    assert header_warning(header()) == ""
    assert header_warning(header(frame_id="")).startswith("the images have no frame_id, so")
    assert header_warning(header(0, 0)).startswith("the images have no stamp, so")
    assert "no frame_id" in header_warning(header(0, 0, "")) and "no stamp" in header_warning(header(0, 0, ""))


OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


class TestHealth:
    """Uses ``self.now`` as the clock."""

    @pytest.fixture(autouse=True)
    def health(self):
        self.now, self.log = 0.0, []
        self.health = Health(self.log.append, lambda: self.now)

    def verdict(self, parameters=None, **changes) -> tuple[bytes, str]:
        status = {"state": "active", "enabled": True, "image_topic": "/image", "image_publishers": 1, **changes}
        snapshot = self.health.snapshot(NodeStatus(**status), parameters or Parameters())
        self.values = snapshot.values
        return snapshot.level, snapshot.message

    def frame(self, age=0.05, work=0.04) -> None:
        self.health.image_received()
        self.health.frame_processed(FrameStats(age, work, {"find": 0.01, "predict": 0.02}, 1, "camera_info"))

    def test_missing_input_is_named(self):
        level, message = self.verdict(image_publishers=0)
        assert level == WARN and message.startswith("no publisher on /image")
        _, message = self.verdict(image_publishers=0, offered_images=("/camera/image_raw", "/camera/depth"))
        assert message.endswith("remap image (there are images on /camera/image_raw, /camera/depth)")
        assert self.verdict() == (WARN, "no images arrive on /image")
        self.health.explain_silence("reliability")
        assert self.verdict() == (WARN, "reliability")
        self.now = 11
        assert self.verdict() == (ERROR, "reliability")
        self.frame()
        assert self.verdict() == (OK, "running")
        self.now = 14
        assert self.verdict()[0] == WARN
        self.now = 20.9
        assert self.verdict()[0] == WARN, (
            "the error comes after 10 s, also if all images are older than the window of the rates"
        )
        self.now = 21.1
        assert self.verdict()[0] == ERROR

    def test_warnings_end_when_a_new_stream_starts(self):
        self.frame()
        self.health.set_warning("smoothing", "as if at rest")
        assert self.verdict() == (WARN, "as if at rest")
        self.health.stream_started()
        self.frame()
        assert self.verdict() == (OK, "running")

    def test_inactive_node_is_ok(self):
        for state in ("unconfigured", "inactive", "finalized"):
            assert self.verdict(state=state) == (OK, state)
        assert self.verdict(enabled=False)[0] == OK and self.values["enabled"] == "false"
        assert self.verdict(state="configuring") == (WARN, "loading the model")
        self.health.set_failure("no such checkpoint")
        assert self.verdict(state="unconfigured") == (ERROR, "no such checkpoint")
        self.health.estimator_loaded("cpu")
        assert self.verdict(state="inactive") == (OK, "inactive") and self.values["last error"] == "no such checkpoint"

    def test_rejections_pass_but_remain_counted(self):
        self.frame()
        self.health.reject(InputRejected("empty_image", "it is empty"))
        assert self.verdict() == (WARN, "it is empty")
        self.health.reject(failure(RuntimeError("boom")), "trace")
        self.health.reject(InputRejected("empty_image", "it is empty"))
        level, message = self.verdict()
        assert level == ERROR and "boom" in message, "a failure of the node itself is more severe"
        assert any("trace" in line for line in self.log)
        self.now = 6
        self.frame()
        assert self.verdict() == (OK, "running")
        assert self.values["rejected: empty_image"] == "2" and self.values["rejected: internal_error"] == "1"
        assert self.values["last error"] == "it is empty"

    def test_thresholds(self):
        for _ in range(3):
            self.frame(age=0.7)
        level, message = self.verdict()
        assert level == WARN and "0.70 s" in message
        assert self.verdict(Parameters(diagnostics__age_error=0.6))[0] == ERROR
        assert self.verdict(Parameters(diagnostics__age_warn=1.0)) == (OK, "running")
        self.now = 5.5
        self.frame()
        level, message = self.verdict(Parameters(diagnostics__min_rate=3.0, diagnostics__age_warn=1.0))
        assert level == WARN and "min_rate" in message

    def test_ages_relative_to_another_clock_are_unknown(self):
        for age, words in ((5000.0, "behind"), (-30.0, "ahead of")):
            self.health.stream_started()
            self.frame(age=age)
            level, message = self.verdict()
            assert level == WARN and words in message and "use_sim_time" in message
            assert self.values["age p95 (ms)"] == "unknown"
        self.frame(age=float("nan"))
        assert self.verdict()[0] == OK, "a zero stamp has its own warning"
        level, message = self.verdict(clock_missing=True)
        assert level == WARN and "/clock" in message

    def test_rates_ages_and_stages(self):
        for number in range(100):
            self.now = number / 10
            self.health.image_received()
            if number % 2 == 0:
                self.health.image_dropped()
            if number % 2:
                self.health.frame_processed(FrameStats(0.08, 0.05, {"find": 0.02, "predict": 0.01}, 2, "camera_info"))
        self.now = 9.95
        assert self.verdict()[0] == OK
        assert float(self.values["input rate (Hz)"]) == pytest.approx(10, abs=0.3)
        assert float(self.values["output rate (Hz)"]) == pytest.approx(5, abs=0.3)
        assert self.values["frames dropped"] == "50" and self.values["age p95 (ms)"] == "80.0"
        assert self.values["find p50 (ms)"] == "20.0" and self.values["predict p50 (ms)"] == "10.0"
        snapshot = self.health.snapshot(
            NodeStatus("active", True, "/image", 1, subscribers={"hands": 2, "/tf": 0}), Parameters()
        )
        assert snapshot.values["subscribers: hands"] == "2" and snapshot.values["subscribers: /tf"] == "0"
        sent = diagnostic_array(snapshot, "wildhands", header().stamp)
        received = deserialize_message(serialize_message(sent), type(sent))
        assert received.status[0].name == "wildhands" and received.header.stamp == header().stamp

    def test_resets_are_counted(self):
        self.health.tracks_reset("clock_jumped_back")
        self.health.tracks_reset("clock_jumped_back")
        self.verdict()
        assert self.values["resets: clock_jumped_back"] == "2"

    def test_warnings_are_logged_once_and_shown_until_they_end(self):
        self.frame()
        self.health.set_warning("frame", "frames differ")
        self.health.set_warning("frame", "frames differ")
        assert self.log == ["frames differ"] and self.verdict() == (WARN, "frames differ")
        self.health.set_warning("frame", "")
        assert self.verdict()[0] == OK


@pytest.mark.parametrize(
    ("transport", "remappings", "topic"),
    [
        ("raw", ("image:=/cam/image_raw",), "/cam/image_raw"),
        ("compressed", ("image:=/cam/image_raw",), "/cam/image_raw/compressed"),
        ("compressed", ("image:=/cam/image_raw", "image/compressed:=/cam/jpeg"), "/cam/jpeg"),
        ("compressed", ("image/compressed:=/cam/jpeg",), "/cam/jpeg"),
        ("compressed", ("__ns:=/left",), "/left/image/compressed"),
        ("compressed", ("__ns:=/left", "image:=raw"), "/left/raw/compressed"),
    ],
)
def test_the_compressed_topic_follows_the_remapping_of_the_image(transport, remappings, topic):
    context = rclpy.Context()
    rclpy.init(context=context)
    arguments = ["--ros-args", *(word for rule in remappings for word in ("-r", rule))]
    node = rclpy.create_node("topic_test", context=context, cli_args=arguments)
    try:
        assert image_topic(node, Parameters(image_transport=transport)) == topic
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)
