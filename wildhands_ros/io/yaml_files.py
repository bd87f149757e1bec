"""Reads YAML files of unknown origin within limits of size, depth and number of values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO

import yaml
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.cyaml import CParser  # type: ignore[attr-defined]  # the stubs do not list what it imports
from yaml.resolver import Resolver

from .errors import InputError, reason

MAX_BYTES = 200_000
"""Bytes up to the end of the first document. A calibration or a configuration has a few kilobytes."""
MAX_NODES = 5_000
"""Values, lists and mappings in a document."""
MAX_DEPTH = 30


class YamlFileError(InputError):
    """The file is not YAML that can be read. The message gives the reason, without the name of the file."""


def load_yaml(
    path: str | Path,
    *,
    max_bytes: int = MAX_BYTES,
    max_nodes: int = MAX_NODES,
    aliases: bool = False,
    unique_keys: bool = False,
) -> object:
    """Reads the first document of a YAML file.

    The file may be any input: aliases, which let a kilobyte grow to gigabytes, deep nesting and large documents are
    refused. Differences to PyYAML's ``safe_load``: ``1e-05`` is a number as in YAML 1.2 and JSON, the header
    ``%YAML:1.0`` of OpenCV's FileStorage is skipped, and unknown tags of mappings and lists are ignored.

    Args:
        path: the file.
        max_bytes: limit of the size.
        max_nodes: limit of the number of values.
        aliases: whether a value may be repeated by an alias. It is then the same object each time, so it takes no more
            memory, but code that walks through the values must not follow them all.
        unique_keys: whether a key that is given twice is an error; otherwise its last value counts.

    Returns:
        Dictionaries, lists, strings and numbers; None if the document is empty.

    Raises:
        YamlFileError: the file is not YAML, or exceeds a limit.
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as file:
        loader = None
        try:
            loader = _Loader(_LimitedStream(file, max_bytes), max_nodes, aliases, unique_keys)
            return loader.get_data() if loader.check_data() else None
        except YamlFileError:
            raise
        except OSError:
            raise
        except Exception as error:  # the scanner and the constructors raise all kinds of errors
            raise YamlFileError(f"not a YAML file: {reason(error)}") from error
        finally:
            if loader is not None:
                loader.dispose()


class _LimitedStream:
    """The content of a file without OpenCV's header, up to ``MAX_BYTES``."""

    def __init__(self, file: BinaryIO, limit: int):
        self._file, self._left, self._limit = file, limit, limit
        first_line = file.readline(100)
        if not re.match(rb"%YAML:\d\.\d\s*$", first_line):
            file.seek(0)

    def read(self, size: int = -1, /) -> bytes:
        """Returns the next bytes; PyYAML reads in small portions and stops after the first document."""
        data = self._file.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise YamlFileError(f"more than {self._limit // 1000} kB in its first document: not read further")
        return data


class _Loader(Composer, CParser, SafeConstructor, Resolver):
    """Parses with libyaml, six times as fast as PyYAML's own parser, and composes and constructs within limits."""

    def __init__(self, stream: _LimitedStream, max_nodes: int, aliases: bool, unique_keys: bool):
        CParser.__init__(self, stream)
        Composer.__init__(self)
        SafeConstructor.__init__(self)
        Resolver.__init__(self)
        self._depth = self._nodes = 0
        self._max_nodes, self._aliases, self._unique_keys = max_nodes, aliases, unique_keys

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        """Refuses duplicate keys if they have to be unique."""
        if self._unique_keys:
            mapping: dict = {}
            for key_node, _ in node.value:
                key = self.construct_object(key_node, deep=True)
                if key in mapping:
                    raise YamlFileError(f"the key {key} is given twice (line {key_node.start_mark.line + 1})")
                mapping[key] = None
        return super().construct_mapping(node, deep)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Refuses merge keys, which copy what an alias repeats."""
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            raise YamlFileError("merge keys (<<) are not supported: write the values out")

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent) and not self._aliases:
            line = self.peek_event().start_mark.line + 1  # type: ignore[union-attr]  # there is an event
            raise YamlFileError(
                f"line {line} repeats another part of the file with an alias (*): aliases are not supported, "
                "write the values out"
            )
        self._nodes += 1
        if self._nodes > self._max_nodes:
            raise YamlFileError(f"more than {self._max_nodes} values: not read further")
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise YamlFileError(f"nested deeper than {MAX_DEPTH} levels: not read further")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _construct_untagged(loader: _Loader, _: str, node: yaml.Node) -> object:
    """Builds the value of a node with an unknown tag, such as !!opencv-matrix, as if it had none."""
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return node.value


_Loader.add_multi_constructor("", _construct_untagged)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)
