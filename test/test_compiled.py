"""The compiled module."""

import importlib
import logging

import pytest

from wildhands_ros.geometry import compiled


def test_a_module_of_another_version_is_not_used(monkeypatch, caplog) -> None:
    module = pytest.importorskip("wildhands_ros._native", reason="compiled only where there is a C compiler")
    assert compiled.native is module
    monkeypatch.setattr(module, "VERSION", compiled.VERSION - 1)
    with caplog.at_level(logging.WARNING, "wildhands"):
        assert importlib.reload(compiled).native is None
    assert "install the package again" in caplog.text
    monkeypatch.undo()
    assert importlib.reload(compiled).native is module
