"""Lifecycle of the node with a fake estimator: transitions, pauses, loading, freeing, and changes of parameters."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
import uuid
from contextlib import ExitStack
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")

import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from live_node import FakeEstimator, LiveNode
from rcl_interfaces.srv import ListParameters
from rclpy.parameter import Parameter
from ros_graph import DOMAIN, Client, NodeProcess
from ros_samples import CAMERA
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger
from tf2_msgs.msg import TFMessage

from wildhands_ros.msg import HandArray, HandMeshTopology
from wildhands_ros.ros.camera_info import camera_info
from wildhands_ros.ros.images import encode_image
from wildhands_ros.ros.node import WildHandsNode
from wildhands_ros.ros.outputs import Outputs

pytestmark = pytest.mark.ros

CONFIGURE, ACTIVATE = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE
DEACTIVATE, CLEANUP = Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP
IMAGE = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)
FAKE_PROGRAM = Path(__file__).with_name("live_node.py")


class Camera:
    """A camera driver that publishes /<namespace>/image and its CameraInfo."""

    def __init__(self, client: Client, namespace: str):
        self.images = client.publisher(f"{namespace}/image", Image)
        self.infos = client.publisher(f"{namespace}/camera_info", CameraInfo)
        self._numbers = count(1)
        self.stamp = 0.0
        """Stamp of the last image, in seconds."""

    def send(self, stamp: Time | None = None) -> None:
        header = Header(stamp=stamp or Time(sec=1000, nanosec=next(self._numbers) * 1_000_000), frame_id="camera")
        self.stamp = seconds(header.stamp)
        self.infos.publish(camera_info(CAMERA, header))
        self.images.publish(encode_image(IMAGE, header))


@pytest.fixture
def make_node(client):
    """Returns a function that creates a node in its own namespace, and returns it, its name and a camera for it."""
    nodes = []

    def make(make_estimator=FakeEstimator, **parameters) -> tuple[LiveNode, str, Camera]:
        namespace = f"/n{uuid.uuid4().hex[:8]}"
        nodes.append(LiveNode(namespace, make_estimator, **parameters))
        client.listen(f"{namespace}/hands", HandArray)
        return nodes[-1], f"{namespace}/wildhands", Camera(client, namespace)

    yield make
    for node in nodes:
        node.close()


def seconds(stamp: Time) -> float:
    return stamp.sec + stamp.nanosec / 1e9


def hands(client: Client, name: str) -> list[HandArray]:
    return client.received[f"{name.rsplit('/', 1)[0]}/hands"]


def wait_for_hands(client: Client, name: str, camera: Camera) -> None:
    before = len(hands(client, name))
    client.until(lambda: len(hands(client, name)) > before, "hands", meanwhile=camera.send)


def assert_no_hands(client: Client, name: str, camera: Camera) -> None:
    spin_for(client, 0.5)  # Messages in transit arrive.
    before = len(hands(client, name))
    spin_for(client, 0.5, camera)
    assert len(hands(client, name)) == before


def spin_for(client: Client, seconds: float, camera: Camera | None = None) -> None:
    end = time.monotonic() + seconds
    client.until(lambda: time.monotonic() > end, "the time has passed", meanwhile=camera and camera.send)


def wait_until_active(client: Client, node: LiveNode) -> None:
    client.until(lambda: node.node.state_label == "active", "the node is active")


def test_it_starts_by_itself_and_a_manager_can_stop_and_restart_it(client, make_node):
    node, name, camera = make_node()
    wait_until_active(client, node)
    wait_for_hands(client, name, camera)
    first = node.estimator

    assert client.change_state(name, DEACTIVATE) and client.state(name) == "inactive"
    client.until(lambda: first.closed, "the estimator is freed")
    assert camera.images.get_subscription_count() == 0, "only an active node subscribes"
    assert_no_hands(client, name, camera)

    assert client.change_state(name, ACTIVATE) and client.state(name) == "active"
    assert len(node.estimators) == 2
    wait_for_hands(client, name, camera)

    assert (
        client.change_state(name, DEACTIVATE)
        and client.change_state(name, CLEANUP)
        and client.state(name) == "unconfigured"
    )
    assert client.node.count_publishers(f"{name.rsplit('/', 1)[0]}/hands/markers") == 0
    assert client.change_state(name, CONFIGURE) and client.change_state(name, ACTIVATE)
    wait_for_hands(client, name, camera)
    assert [estimator.closed for estimator in node.estimators] == [True, True, False]


def test_topics_that_may_be_meant_are_named(client, make_node):
    """As in github.com/ros-perception/image_pipeline/issues/839: of a driver's topics, one was remapped."""
    _, name, camera = make_node()
    namespace = name.rsplit("/", 1)[0]
    client.publisher(f"{namespace}/driver/camera_info", CameraInfo)
    client.until(
        lambda: f"it is published on {namespace}/driver/camera_info" in client.diagnostics(name[1:]).get("message", ""),
        "the CameraInfo is named",
        meanwhile=lambda: camera.images.publish(encode_image(IMAGE, Header(frame_id="camera"))),
    )

    other, _ = make_node(image_transport="compressed")[1:]
    namespace = other.rsplit("/", 1)[0]
    client.publisher(f"{namespace}/driver/compressed", CompressedImage)
    client.until(
        lambda: (
            f"(there are images on {namespace}/driver/compressed" in client.diagnostics(other[1:]).get("message", "")
        ),
        "the images are named",
    )


def test_without_autostart_it_waits_for_a_manager(client, make_node):
    node, name, camera = make_node(autostart=False)
    client.until(lambda: client.diagnostics(name[1:]).get("state") == "unconfigured", "the state is reported")
    assert client.diagnostics(name[1:])["level"] == DiagnosticStatus.OK and not node.estimators
    assert client.change_state(name, CONFIGURE)
    assert client.state(name) == "inactive" and camera.images.get_subscription_count() == 0
    assert client.change_state(name, ACTIVATE)
    wait_for_hands(client, name, camera)
    assert len(node.estimators) == 1, "the estimator that configure loaded is used"


def test_impossible_transitions_are_rejected_without_side_effects(client, make_node):
    node, name, camera = make_node()
    wait_until_active(client, node)
    for transition in (CONFIGURE, ACTIVATE, CLEANUP, 250):
        assert not client.change_state(name, transition)
    wait_for_hands(client, name, camera)


def test_loading_does_not_block_the_services(client, make_node):
    release = threading.Event()

    def make(parameters):
        assert release.wait(60)
        return FakeEstimator()

    node, name, _ = make_node(make)
    try:
        # Each of these would wait forever if it waited for the model.
        client.until(lambda: node.node.state_label == "configuring", "it loads the model")
        assert client.state(name) == "configuring"
        assert client.call(SetBool, f"{name}/enable", SetBool.Request(data=True)).success
        assert client.set_parameters(name, markers_max_rate=3.0) == [""]
        client.until(lambda: client.diagnostics(name[1:]).get("message") == "loading the model", "diagnostics continue")
        assert not client.change_state(name, ACTIVATE)
    finally:
        release.set()
    wait_until_active(client, node)
    assert node.node.parameters.markers_max_rate == 3.0


@pytest.mark.parametrize("how", ["enable", "deactivate"])
def test_nothing_waits_for_the_current_frame_and_its_result_is_discarded(client, make_node, how):
    node, name, camera = make_node()
    wait_until_active(client, node)
    wait_for_hands(client, name, camera)
    estimator = node.estimator
    estimator.hold.clear()
    estimator.in_work.clear()
    client.until(estimator.in_work.is_set, "a frame is being processed", meanwhile=camera.send)
    held = estimator.calls[-1][1]
    # The frame is not finished before hold is set, so a response proves that nothing waited for it.
    if how == "enable":
        assert client.call(SetBool, f"{name}/enable", SetBool.Request(data=False)).success
    else:
        assert client.change_state(name, DEACTIVATE)
    assert not estimator.closed
    estimator.hold.set()
    if how == "deactivate":
        client.until(lambda: estimator.closed, "it is freed after the frame")
    spin_for(client, 0.5, camera)
    stamps = [message.header.stamp for message in hands(client, name)]
    assert all(seconds(stamp) < held for stamp in stamps)
    if how == "enable":
        client.until(
            lambda: client.diagnostics(name[1:]).get("message") == "paused by the service enable",
            "the pause is reported",
        )
        assert not estimator.closed and client.diagnostics(name[1:])["level"] == DiagnosticStatus.OK
        assert client.call(SetBool, f"{name}/enable", SetBool.Request(data=True)).success
        wait_for_hands(client, name, camera)
        assert len(node.estimators) == 1
    else:
        assert client.change_state(name, ACTIVATE)
        wait_for_hands(client, name, camera)


class SlowMeshes(FakeEstimator):
    """Its hands' meshes, which are computed when a frame is published, are not ready before ``publish`` is set."""

    def __init__(self, parameters=None):
        super().__init__(parameters)
        self.publish = threading.Event()
        self.publishing = threading.Event()

    def __call__(self, *arguments, **options):
        frame = super().__call__(*arguments, **options)
        return replace(frame, hands=tuple(replace(hand, pose_mesh=self._mesh) for hand in frame.hands))

    def _mesh(self, mano, side):
        self.publishing.set()
        assert self.publish.wait(60)
        return np.zeros_like(self.hand_model[side].v_template)


def test_a_frame_is_published_while_the_next_one_is_estimated(client, make_node):
    node, name, camera = make_node(SlowMeshes)
    wait_until_active(client, node)
    client.until(lambda: node.estimators and node.estimator.publishing.is_set(), "a frame", meanwhile=camera.send)
    estimator = node.estimator
    client.until(lambda: len(estimator.calls) == 2, "the next frame is estimated meanwhile", meanwhile=camera.send)
    spin_for(client, 0.5, camera)
    assert len(estimator.calls) == 2, "the publisher is at most one frame behind"
    assert not hands(client, name)
    estimator.publish.set()
    client.until(lambda: len(hands(client, name)) >= 5, "hands", meanwhile=camera.send)
    client.until(lambda: len(hands(client, name)) == len(estimator.calls), "every frame is published")
    stamps = [seconds(message.header.stamp) for message in hands(client, name)]
    assert stamps == sorted(stamps) == [stamp for _, stamp, _ in estimator.calls], "every frame is published, in order"
    client.until(
        lambda: client.diagnostics(name[1:])["frames processed"] == str(len(stamps)), "each of them is counted once"
    )


def test_an_error_while_publishing_is_counted_and_the_node_keeps_running(client, make_node, monkeypatch):
    node, name, camera = make_node()
    wait_until_active(client, node)
    wait_for_hands(client, name, camera)
    publish, errors = Outputs.publish, [ValueError("this frame cannot be published")]

    def fails_once(*arguments):
        if errors:
            raise errors.pop()
        publish(*arguments)

    monkeypatch.setattr(Outputs, "publish", fails_once)
    client.until(lambda: not errors, "the frame that cannot be published", meanwhile=camera.send)
    client.until(lambda: client.diagnostics(name[1:]).get("rejected: internal_error") == "1", "the error is reported")
    wait_for_hands(client, name, camera)


def test_a_pause_is_kept_until_the_node_is_active(client, make_node):
    node, name, camera = make_node(autostart=False)
    assert client.change_state(name, CONFIGURE)
    answer = client.call(SetBool, f"{name}/enable", SetBool.Request(data=False))
    assert answer.success and "inactive" in answer.message
    assert client.change_state(name, ACTIVATE)
    assert_no_hands(client, name, camera)
    assert client.call(SetBool, f"{name}/enable", SetBool.Request(data=True)).success
    wait_for_hands(client, name, camera)


def test_reset_tracks(client, make_node):
    node, name, camera = make_node()
    wait_until_active(client, node)
    wait_for_hands(client, name, camera)
    resets = node.estimator.resets
    assert client.call(Trigger, f"{name}/reset_tracks").success
    client.until(lambda: node.estimator.resets == resets + 1, "the tracks are reset")
    assert client.change_state(name, DEACTIVATE)
    assert client.call(Trigger, f"{name}/reset_tracks").success


def test_a_failed_load_is_reported_and_can_be_corrected(client, make_node):
    def make(parameters):
        if parameters.checkpoint == "nowhere":
            raise ValueError("there is no checkpoint nowhere")
        if parameters.checkpoint == "broken":
            raise RuntimeError("a bug")
        return FakeEstimator()

    node, name, camera = make_node(make, checkpoint="nowhere")
    client.until(lambda: client.diagnostics(name[1:]).get("level") == DiagnosticStatus.ERROR, "the failure is reported")
    status = client.diagnostics(name[1:])
    assert "there is no checkpoint nowhere" in status["message"] and status["state"] == "unconfigured"
    assert client.set_parameters(name, checkpoint="broken") == [""]
    assert not client.change_state(name, CONFIGURE) and client.state(name) == "unconfigured"
    client.until(lambda: "RuntimeError: a bug" in client.diagnostics(name[1:])["message"], "a bug is reported too")
    assert client.set_parameters(name, checkpoint="auto") == [""]
    assert client.change_state(name, CONFIGURE) and client.change_state(name, ACTIVATE)
    wait_for_hands(client, name, camera)
    client.until(lambda: client.diagnostics(name[1:])["level"] != DiagnosticStatus.ERROR, "the failure has ended")


def test_loading_can_be_repeated_after_running_out_of_memory(client, make_node):
    errors = [MemoryError("the device is full")]

    def make(parameters):
        if errors:
            raise errors.pop()
        return FakeEstimator()

    node, name, camera = make_node(make)
    client.until(
        lambda: "MemoryError: the device is full" in client.diagnostics(name[1:]).get("message", ""),
        "the failure is reported",
    )
    assert client.change_state(name, CONFIGURE) and client.change_state(name, ACTIVATE)
    wait_for_hands(client, name, camera)


def test_an_estimator_that_cannot_be_reset_is_replaced(client, make_node):
    node, name, camera = make_node()
    wait_until_active(client, node)
    wait_for_hands(client, name, camera)
    first = node.estimator
    first.broken, first.errors = True, [RuntimeError("an error that breaks it")]
    client.until(lambda: len(node.estimators) == 2, "another estimator is created", meanwhile=camera.send)
    wait_for_hands(client, name, camera)
    client.until(lambda: client.diagnostics(name[1:]).get("rejected: internal_error") == "2", "both errors are counted")
    assert first.closed


def test_two_nodes_with_one_prefix_warn(client, make_node):
    _, first_name, _ = make_node()
    # Two nodes that start in one process at the same time may never discover each other.
    client.until(lambda: client.diagnostics(first_name[1:]), "the first image is processed")
    _, second_name, _ = make_node()
    warning = lambda name: "same frames on /tf" in client.diagnostics(name[1:]).get("warnings", "")  # noqa: E731
    client.until(lambda: warning(first_name) and warning(second_name), "both warn")
    assert client.set_parameters(second_name, tf_prefix="second_") == [""]
    client.until(lambda: not warning(first_name) and not warning(second_name), "neither warns")


def test_after_an_error_in_a_transition_the_node_can_be_configured_again(client, make_node, monkeypatch):
    node, name, camera = make_node(autostart=False)
    assert client.change_state(name, CONFIGURE)
    with monkeypatch.context() as patch:
        patch.setattr(node.node, "_start_working", lambda estimator, outputs: 1 / 0)
        assert not client.change_state(name, ACTIVATE)
    assert client.state(name) == "unconfigured"
    client.until(lambda: node.estimator.closed, "the loaded estimator is freed")
    assert client.change_state(name, CONFIGURE) and client.change_state(name, ACTIVATE)
    wait_for_hands(client, name, camera)


def test_parameters_take_effect_with_the_next_frame_or_are_rejected_with_the_reason(client, make_node):
    node, name, camera = make_node(tf="off", publish_vertices=True)
    wait_until_active(client, node)
    client.listen("/tf", TFMessage)
    wait_for_hands(client, name, camera)
    assert len(hands(client, name)[-1].hands[0].vertices)
    assert client.set_parameters(name, publish_vertices=False, tf="wrist", tf_prefix="robot_") == ["", "", ""]
    sent = camera.stamp
    wrist = "robot_right_wrist"
    client.until(
        lambda: any(item.child_frame_id == wrist for message in client.received["/tf"] for item in message.transforms),
        "transforms",
        meanwhile=camera.send,
    )
    later = lambda: [message for message in hands(client, name) if seconds(message.header.stamp) > sent]  # noqa: E731
    client.until(later, "hands of images that were sent later", meanwhile=camera.send)
    assert not any(len(message.hands[0].vertices) for message in later())

    reasons = client.set_parameters(
        name, checkpoint="other", tf="some", markers_max_rate=-1.0, publish_vertices=3, intrinsics="horizontal_fov"
    )
    for reason, words in zip(
        reasons, ("clean it up first", "one of: off", "markers_max_rate", "type", "horizontal_fov"), strict=True
    ):
        assert words in reason
    assert node.node.parameters.tf == "wrist" and node.node.parameters.checkpoint == "auto"


def test_late_subscribers_receive_the_topology_and_outputs_are_reliable(client, make_node):
    node, name, _ = make_node()
    wait_until_active(client, node)
    topic = f"{name.rsplit('/', 1)[0]}/hands"
    client.listen(f"{topic}/mesh_topology", HandMeshTopology, latched=True)
    client.until(lambda: len(client.received[f"{topic}/mesh_topology"]) == 2, "both sides")
    for output in (topic, f"{topic}/mesh_topology", f"{topic}/markers", f"{topic}/debug_image"):
        (info,) = client.node.get_publishers_info_by_topic(output)
        assert info.qos_profile.reliability.name == "RELIABLE", output


def test_the_image_subscription_matches_its_publishers(client, make_node):
    node, name, _ = make_node()
    wait_until_active(client, node)
    topic = f"{name.rsplit('/', 1)[0]}/image"  # It has a reliable camera.

    def asked() -> list[str]:
        return [info.qos_profile.reliability.name for info in client.node.get_subscriptions_info_by_topic(topic)]

    client.until(lambda: asked() == ["RELIABLE"], "the subscription matches")
    other = client.publisher(topic, Image, reliable=False)
    client.until(lambda: asked() == ["BEST_EFFORT"], "it has both subscriptions")
    client.node.destroy_publisher(other)
    client.until(lambda: asked() == ["RELIABLE"], "the subscription matches again")


def test_qos_can_be_overridden(client, make_node):
    node, name, camera = make_node(**{"qos_overrides./hands.publisher.depth": 3})
    wait_until_active(client, node)
    names = client.call(ListParameters, f"{name}/list_parameters").result.names
    topic = f"{name.rsplit('/', 1)[0]}"
    for policy in (
        f"qos_overrides.{topic}/image.subscription.depth",
        f"qos_overrides.{topic}/hands.publisher.reliability",
    ):
        assert policy in names


def test_simulated_time(client, make_node):
    """Plays a bag in a loop with its clock: ages are relative to that clock, and each repetition is a new stream."""
    node, name, camera = make_node(use_sim_time=True)
    wait_until_active(client, node)
    status = lambda: client.diagnostics(name[1:])  # noqa: E731
    wait_for_hands(client, name, camera)
    client.until(
        lambda: "/clock" in status().get("warnings", ""), "the missing clock is reported", meanwhile=camera.send
    )
    clock = client.publisher("/clock", Clock)
    client.until(clock.get_subscription_count, "the node subscribes to the clock")
    numbers = count()

    def play() -> None:
        now = 2000 + next(numbers) % 8  # A loop of eight frames.
        # Nodes subscribe to the clock with best effort, so a message may be lost.
        client.until(
            lambda: node.node.get_clock().now().nanoseconds // 10**9 == now,
            "the node's clock",
            meanwhile=lambda: clock.publish(Clock(clock=Time(sec=now, nanosec=50_000_000))),
        )
        camera.send(Time(sec=now))

    def known() -> bool:
        age = status().get("age p95 (ms)", "unknown")
        return age != "unknown" and 40 < float(age) < 10_000

    client.until(known, "ages are known", meanwhile=play)
    client.until(lambda: int(status().get("resets: clock_jumped_back", 0)) > 2, "it plays in a loop", meanwhile=play)
    wait_for_hands(client, name, camera)


def memory_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_a_thousand_cycles_leak_nothing(client, make_node):
    node, name, camera = make_node()
    wait_until_active(client, node)
    wait_for_hands(client, name, camera)
    request = node.node.change_state
    done = []

    async def cycles(number: int) -> None:
        for _ in range(number):
            done.append(await request(DEACTIVATE) and await request(ACTIVATE))
            del node.estimators[:-1]

    def run(number: int) -> tuple[int, int, float]:
        done.clear()
        node.node.executor.create_task(cycles, number)
        client.until(lambda: len(done) == number, f"{number} cycles", timeout=600)
        gc.collect()
        return threading.active_count(), len(os.listdir("/proc/self/fd")), memory_mb()

    threads, files, memory = run(100)
    later_threads, later_files, later_memory = run(900)
    assert all(done)
    assert later_threads <= threads and later_files <= files + 2
    assert later_memory < memory + 20
    wait_for_hands(client, name, camera)


def test_a_signal_ends_the_process_cleanly_in_every_state(client, tmp_path):
    """Starts all processes at the same time, since each takes a while."""
    by_hand = {"autostart": False}
    wanted = {
        "unconfigured": (by_hand, []),
        "configuring": ({}, []),
        "inactive": (by_hand, [CONFIGURE]),
        "activating": (by_hand, [CONFIGURE, ACTIVATE, DEACTIVATE]),
        "active": ({}, []),
        "finalized": (by_hand, [Transition.TRANSITION_UNCONFIGURED_SHUTDOWN]),
    }
    holds = {state: tmp_path / f"hold_{state}" for state in wanted}
    holds["configuring"].touch()
    nodes = {
        state: NodeProcess(tmp_path / state, f"/{state}", program=(str(FAKE_PROGRAM), str(holds[state])), **parameters)
        for state, (parameters, _) in wanted.items()
    }
    with ExitStack() as leftovers:
        for node in nodes.values():
            leftovers.callback(node.process.kill)
        for state, (_, transitions) in wanted.items():
            name = f"/{state}/wildhands"
            for transition in transitions:
                assert client.change_state(name, transition)
            if state == "activating":
                holds[state].touch()
                service = client.node.create_client(ChangeState, f"{name}/change_state")
                client.until(service.service_is_ready, "the service")
                service.call_async(ChangeState.Request(transition=Transition(id=ACTIVATE)))
            client.until(lambda name=name, state=state: client.state(name) == state, f"the node is {state}")
            nodes[state].process.send_signal(signal.SIGTERM if state == "inactive" else signal.SIGINT)
            if holds[state].exists():
                holds[state].unlink()  # Loading is finished first.
            assert nodes[state].wait() == 0, nodes[state].output
            assert "Traceback" not in nodes[state].output


def test_transitions_can_be_called_directly():
    """Calls them without a service, as rclpy offers it: the calling thread waits for the model."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    node = WildHandsNode(FakeEstimator, context=context, parameter_overrides=[Parameter("autostart", value=False)])
    assert node.trigger_configure().name == "SUCCESS" and node.trigger_activate().name == "SUCCESS"
    assert node.state_label == "active"
    assert node.trigger_deactivate().name == "SUCCESS"
    node.close()
    node.destroy_node()
    rclpy.shutdown(context=context)
