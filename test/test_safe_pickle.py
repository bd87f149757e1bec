"""The restricted unpickler calls only the functions in its table."""

import collections
import io
import os
import pickle

import pytest

from wildhands_ros.io.safe_pickle import RestrictedUnpickler, UnsafePickleError


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def load(data, allowed=None, **options):
    return RestrictedUnpickler(io.BytesIO(data), allowed or {}, **options).load()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_is_loaded(protocol):
    value = {"a": [1, 2.5, None, True], "b": ("text", 2**70)}
    assert load(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_unlisted_call_is_rejected_by_name_and_not_executed(tmp_path, protocol):
    target = tmp_path / "made"
    with pytest.raises(UnsafePickleError, match="mkdir"):
        load(pickle.dumps({"weights": Malicious(str(target))}, protocol))
    assert not target.exists()


@pytest.mark.parametrize(
    "code",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"c__builtin__\neval\n(S'1'\ntR.",
        b"(S'true'\nios\nsystem\n.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
    ],
)
def test_every_opcode_that_names_a_global_is_checked(code):
    with pytest.raises(UnsafePickleError, match=r"os\.system|eval"):
        load(code)


def test_attributes_of_an_allowed_name_are_rejected():
    """Protocol 4 resolves "a.b" attribute by attribute; the table must contain the whole name."""
    code = b"\x80\x04\x8c\x0bcollections\x8c\x1aOrderedDict.fromkeys.__cal\x93."
    with pytest.raises(UnsafePickleError, match=r"OrderedDict\.fromkeys"):
        load(code, {("collections", "OrderedDict"): collections.OrderedDict})


def test_table_can_replace_a_class_with_a_stub():
    data = pickle.dumps(collections.OrderedDict(a=1), 2)
    assert load(data, {("collections", "OrderedDict"): dict}) == {"a": 1}


def test_persistent_objects_are_rejected_without_a_loader():
    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return ("storage", value.decode()) if isinstance(value, bytes) else None

    file = io.BytesIO()
    Pickler(file).dump([b"abc"])
    with pytest.raises(UnsafePickleError, match="storage"):
        load(file.getvalue())
    assert load(file.getvalue(), persistent_load=lambda pid: pid[1].encode()) == [b"abc"]


def test_truncated_file_is_not_reported_as_unsafe():
    data = pickle.dumps(list(range(1000)))
    with pytest.raises((pickle.UnpicklingError, EOFError)) as error:
        load(data[:100])
    assert not isinstance(error.value, UnsafePickleError)
