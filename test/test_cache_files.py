"""Cache files are used only if they are intact and the user's own."""

from __future__ import annotations

import multiprocessing
import os
import random
import stat

import pytest

from wildhands_ros.io.cache_files import cached_output, is_cached, open_cached, own_cache_folder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return own_cache_folder("networks")


def write(path, content: bytes = b"content" * 1000) -> None:
    with cached_output(path) as partial:
        partial.write_bytes(content)


def test_a_file_is_read_as_it_was_written(folder):
    assert open_cached(folder / "a") is None
    write(folder / "a")
    with open_cached(folder / "a") as file:
        assert file.read() == b"content" * 1000
    write(folder / "a", b"another")
    with open_cached(folder / "a") as file:
        assert file.read() == b"another"
    assert sorted(path.name for path in folder.iterdir()) == ["a", "a.sha256"]


def test_no_damage_is_overlooked(folder, caplog):
    rng = random.Random(0)
    for _ in range(100):
        write(folder / "a")
        damaged = bytearray((folder / "a").read_bytes())
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        (folder / "a").write_bytes(damaged[: rng.choice((len(damaged), rng.randrange(len(damaged))))])
        assert not is_cached(folder / "a") and not list(folder.iterdir())
    assert "a is damaged: its checksum differs: it is not used" in caplog.text


@pytest.mark.parametrize("checksum", [None, b"", b"0" * 64, b"\xff" * 10**6])
def test_a_file_without_its_checksum_is_not_used(folder, checksum):
    write(folder / "a")
    (folder / "a.sha256").unlink()
    if checksum is not None:
        (folder / "a.sha256").write_bytes(checksum)
    assert not is_cached(folder / "a") and not list(folder.iterdir())


def test_links_and_files_of_others_are_not_used(folder, tmp_path):
    write(tmp_path / "elsewhere")
    (folder / "a").symlink_to(tmp_path / "elsewhere")
    (folder / "a.sha256").write_bytes((tmp_path / "elsewhere.sha256").read_bytes())
    assert not is_cached(folder / "a")
    write(folder / "b")
    (folder / "b").chmod(0o666)
    assert not is_cached(folder / "b")


def test_the_folder_is_the_user_s_own(folder, tmp_path, monkeypatch):
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    folder.chmod(0o777)
    own_cache_folder("networks")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(PermissionError, match="another user"):
        own_cache_folder("networks")


def test_a_writer_that_fails_or_is_killed_leaves_the_earlier_file(folder):
    write(folder / "a")
    with pytest.raises(ZeroDivisionError), cached_output(folder / "a") as partial:
        partial.write_bytes(b"half")
        raise ZeroDivisionError

    def killed():
        with cached_output(folder / "a") as partial:
            partial.write_bytes(b"half")
            os.kill(os.getpid(), 9)

    process = multiprocessing.get_context("fork").Process(target=killed)
    process.start()
    process.join()
    assert is_cached(folder / "a")


def test_two_writers_of_one_file(folder):
    def writes(letter: bytes):
        for _ in range(50):
            write(folder / "a", letter * 10_000)

    processes = [multiprocessing.get_context("fork").Process(target=writes, args=(letter,)) for letter in (b"x", b"y")]
    for process in processes:
        process.start()
    while any(process.is_alive() for process in processes):
        if (folder / "a").exists():
            assert is_cached(folder / "a")
    assert is_cached(folder / "a")
