"""Machines that lack something: file descriptors, shared memory, a home that can be written."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from fuzz_readers import picture, sample_messages
from ros_graph import Client, NodeProcess
from sensor_msgs.msg import CameraInfo, CompressedImage

from wildhands_ros.io.images import encode_image
from wildhands_ros.msg import HandArray
from wildhands_ros.ros.surroundings import adapt_to_machine

ROOT = Path(__file__).parent.parent
NAMESPACES = ["unshare", "--user", "--map-root-user", "--mount"]
"""Gives a process mounts of its own, also without the rights of root."""
has_namespaces = pytest.mark.skipif(
    not shutil.which("unshare") or subprocess.run([*NAMESPACES, "true"], capture_output=True).returncode != 0,
    reason="this machine lets nobody mount anything",
)
SHARED_MEMORY = "mount -t tmpfs -o size=2000k none /dev/shm; dd if=/dev/zero of=/dev/shm/x bs=1k count={} 2>/dev/null"
FULL, NEARLY_FULL = SHARED_MEMORY.format(2000), SHARED_MEMORY.format(1900)
READ_ONLY_HOME = "mkdir -p {0} && mount --bind {0} {0} && mount -o remount,ro,bind {0}; export HOME={0}"


def in_shell(preparation: str, *command: str) -> list[str]:
    """Returns a command that is run after ``preparation``."""
    prefix = NAMESPACES if "mount" in preparation else []
    return [*prefix, "bash", "-c", f"{preparation}; exec {shlex.join(command)}"]


def node_in_shell(preparation: str, log: Path) -> NodeProcess:
    program = in_shell(preparation, sys.executable, str(ROOT / "test" / "live_node.py"), str(log.with_name("none")))
    script = f'{program[-1]} "$@"'
    return NodeProcess(
        log,
        program=("-c", "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])", *program[:-1], script, "node"),
        intrinsics="camera_info",
        image_transport="compressed",
    )


@pytest.mark.ros
@pytest.mark.parametrize(
    ("preparation", "said"),
    [
        ("ulimit -n 64", ""),
        pytest.param(NEARLY_FULL, "", marks=has_namespaces),
        pytest.param(READ_ONLY_HOME, "cannot write logs to", marks=has_namespaces),
    ],
    ids=["64 descriptors", "shared memory", "home"],
)
def test_the_node_runs(tmp_path, preparation, said):
    node = node_in_shell(preparation.format(tmp_path / "home"), tmp_path / "log")
    client = Client()
    try:
        client.listen("hands", HandArray)
        images, infos = (
            client.publisher("image/compressed", CompressedImage),
            client.publisher("camera_info", CameraInfo),
        )
        info = next(data for name, data in sample_messages() if name.startswith("camera_info"))
        image = CompressedImage(format="jpeg")
        image.data.frombytes(encode_image(picture(640, 480), ".jpg"))

        def send() -> None:
            infos.publish(info)
            images.publish(image)

        client.until(lambda: client.received["hands"], "hands", meanwhile=send)
        assert node.stop() == 0
        assert said in node.output and "Traceback" not in node.output
    finally:
        client.close()
        node.process.kill()


@has_namespaces
def test_a_full_shared_memory_is_a_sentence_and_no_sigbus():
    command = in_shell(FULL, sys.executable, "-m", "wildhands_ros.ros.node")
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=ROOT)
    assert result.returncode == 1 and "/dev/shm is full" in result.stderr and "Traceback" not in result.stderr
    command = in_shell(FULL, sys.executable, "-m", "wildhands_ros.cli.main", "soak")
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=ROOT)
    assert result.returncode == 2 and "/dev/shm is full" in result.stderr and "Traceback" not in result.stderr


@has_namespaces
@pytest.mark.parametrize("preparation", [READ_ONLY_HOME, FULL, "ulimit -n 64"], ids=["home", "shared memory", "files"])
def test_estimate_works(tmp_path, preparation):
    photo, out = ROOT / "test/data/images/letter_b.jpg", tmp_path / "out.json"
    preparation = preparation.format(tmp_path / "home")
    command = in_shell(
        preparation, sys.executable, "-m", "wildhands_ros.cli.main", "estimate", str(photo), "--fov", "60"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    result = subprocess.run(
        [*command[:-1], f"{command[-1]} --json {out}"],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=ROOT,
        env=environment,
    )
    assert result.returncode == 0, result.stderr
    assert out.is_file() and "Traceback" not in result.stderr


def test_the_log_folder_that_ros_would_use_is_checked(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    for name, folder in (("ROS_LOG_DIR", tmp_path / "file"), ("ROS_HOME", tmp_path / "file")):
        monkeypatch.delenv("ROS_LOG_DIR", raising=False)
        monkeypatch.setenv(name, str(folder))
        adapt_to_machine()
        assert Path(os.environ["ROS_LOG_DIR"]).is_dir() and str(folder) in capsys.readouterr().err
        Path(os.environ["ROS_LOG_DIR"]).rmdir()
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path / "new"))
    adapt_to_machine()
    assert os.environ["ROS_LOG_DIR"] == str(tmp_path / "new") and not capsys.readouterr().err
