"""A short run of ``make fuzz``: a few damaged inputs for each reader, and the checks of the fuzzing itself."""

from __future__ import annotations

import os
import time

import fuzz
import pytest
from fuzz_readers import READERS, Seed

COUNT = 12


@pytest.mark.parametrize("name", READERS)
def test_damaged_inputs_are_read_or_refused_by_name(name, tmp_path):
    if name in ("messages", "depth_messages", "fused_hands", "annotated_recordings"):
        pytest.importorskip("rclpy")
    if name in ("recordings", "annotated_recordings"):
        pytest.importorskip("rosbags")
    for number, seed, data in fuzz.inputs(name, tmp_path, 0, COUNT):
        valid = seed.file.read_bytes()
        seed.file.write_bytes(data)
        assert not fuzz.problem(seed, fuzz.read(seed)), number
        seed.file.write_bytes(valid)


@pytest.mark.ros
@pytest.mark.parametrize("name", ["node", "raw", "fusion", "teleop"])
def test_damaged_messages_over_dds_do_not_end_the_node(tmp_path, name):
    pytest.importorskip("rclpy")
    from fuzz_node import TARGETS, Client, send_damaged

    target = TARGETS[name]
    node, client = target.start(tmp_path / "log"), Client()
    try:
        sent = send_damaged(target, node, client, 100)
        assert sent.messages == 100 * len(target.topics) and sent.received >= sent.readable
    finally:
        client.close()
        print(node.output[-3000:])
        assert node.stop() == 0


def test_equal_numbers_give_equal_inputs(tmp_path):
    first = [data for _, _, data in fuzz.inputs("calibrations", tmp_path / "a", 0, 30)]
    again = [data for _, _, data in fuzz.inputs("calibrations", tmp_path / "b", 20, 10)]
    assert first[20:] == again and len(set(first)) > 25


def test_whatever_an_input_does_is_found(tmp_path, monkeypatch):
    """The worker is forked, so that it has the readers of this test."""
    file = tmp_path / "input"
    file.write_bytes(b"valid")

    def reader(effect):
        effects = iter((lambda: None, effect))  # the valid input is read first
        return lambda _: iter([Seed(file, lambda: next(effects)())])

    def fill():
        return len(b"x" * 600_000_000)

    def kill():
        os.kill(os.getpid(), 11)

    def spin():
        end = time.process_time() + fuzz.SECONDS + 0.2
        while time.process_time() < end:
            pass

    effects = {"KeyError": lambda: {}["x"], "SIGSEGV": kill, "500 MB": fill, "2 s": spin}
    for kind, effect in effects.items():
        monkeypatch.setitem(READERS, "odd", reader(effect))
        count, findings = fuzz.fuzz("odd", 30, 1, tmp_path / "findings")
        assert count == 1 and len(findings) == 1 and kind in findings[0]
    texts = [path.read_text() for path in (tmp_path / "findings").glob("*.txt")]
    assert len(texts) == 4 and all("--first 0 --count 1" in text for text in texts)
