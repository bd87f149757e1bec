"""What is used of a recording's metadata.yaml: its files and counts. The files themselves tell the rest."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePath

from ..io.yaml_files import YamlFileError, load_yaml

KNOWN_VERSION = 9
_MAX_BYTES, _MAX_NODES = 4 * 2**20, 100_000


@dataclass
class BagMetadata:
    """The files of a recording and the number of messages that the recorder counted."""

    files: list[Path] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """Names of files that are not there."""
    counts: dict[str, int] = field(default_factory=dict)
    """Messages by topic."""
    warning: str = ""
    """One sentence, if the file is unusual but nothing is lost."""


def read_metadata(folder: Path) -> BagMetadata:
    """Reads metadata.yaml.

    Raises:
        YamlFileError: it cannot be read, or is not a recording's.
        OSError: there is no such file, or it cannot be read.
    """
    content = load_yaml(folder / "metadata.yaml", max_bytes=_MAX_BYTES, max_nodes=_MAX_NODES, aliases=True)
    try:
        information = content["rosbag2_bagfile_information"]  # type: ignore[index]  # anything else is refused below
        names = [PurePath(str(name)).name for name in information["relative_file_paths"]]
        counts: dict[str, int] = {}
        for topic in information.get("topics_with_message_count", ()):
            name = str(topic["topic_metadata"]["name"])
            counts[name] = counts.get(name, 0) + int(topic["message_count"])
        version = int(information.get("version", 0))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise YamlFileError(f"not the metadata of a recording ({type(error).__name__}: {error})") from error
    metadata = BagMetadata(counts=counts)
    for name in names:
        if (folder / name).is_file():
            metadata.files.append(folder / name)
        else:
            metadata.missing.append(name)
    if version > KNOWN_VERSION:
        metadata.warning = (
            f"metadata.yaml has version {version}, which is newer than {KNOWN_VERSION}; it is not relied on"
        )
    return metadata
