"""Checks the documentation: links and anchors lead somewhere, pages are listed, generated parts are up to date."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import wildhands_ros

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import draw_architecture  # noqa: E402 - a script of the repository, not of the package

pytestmark = pytest.mark.slow

NOT_OURS = {
    ".venv",
    ".venv-distros",
    ".venv-docs",
    ".venv-lerobot",
    "build",
    "install",
    "log",
    "site",
    "demo_output",
    "training_output",
}
PAGES = sorted(
    page
    for page in ROOT.rglob("*.md")
    if not NOT_OURS & set(page.relative_to(ROOT).parts) and ".pytest_cache" not in page.parts
)
GUIDES = sorted(page.name for page in (ROOT / "docs").glob("*.md"))

LINK = re.compile(r"(?<!\\)\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")


def prose(page: Path) -> str:
    """Returns the page without its code."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    text = re.sub(r"(?<=\n)\n(?:(?: {4}|\t).*\n)+", "\n", text)
    return re.sub(r"`[^`\n]*`(?!\])", "", text)


def anchors(page: Path) -> set[str]:
    """Returns the anchors of the headings, as GitHub and MkDocs name them."""
    found = set()
    for heading in re.findall(r"^#{1,6} (.+)$", page.read_text(), re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)|`", r"\1", heading).strip().lower()
        found.add(re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", plain)))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page):
    for link in LINK.findall(prose(page)):
        if re.match(r"(https?|mailto):", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link}: there is no {target}"
        assert target.is_relative_to(ROOT.resolve()), f"{link} leads out of the repository"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{link}: {target.name} has the headings {sorted(anchors(target))}"


def test_index_and_site_list_every_page():
    index = (ROOT / "docs/index.md").read_text()
    listed = set(re.findall(r"\(([\w_]+\.md)", index)) | {"index.md"}
    assert sorted(listed) == GUIDES, "docs/index.md"
    navigation = re.findall(r": ([\w_]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M)
    assert sorted(navigation) == GUIDES, "mkdocs.yml"


def test_reference_lists_every_public_name():
    listed = re.findall(r"^::: wildhands_ros\.([\w.]+)\.(\w+)$", (ROOT / "docs/api.md").read_text(), re.M)
    missing = set(wildhands_ros.__all__) - {name for _, name in listed}
    assert not missing, f"docs/api.md lacks {sorted(missing)}"
    for module, name in listed:
        assert (ROOT / "wildhands_ros" / f"{module.replace('.', '/')}.py").is_file(), f"{module}.{name}"


def test_architecture_drawing_is_up_to_date_and_imports_form_no_cycle():
    graph = draw_architecture.import_graph()
    assert draw_architecture.drawing(graph) == draw_architecture.DRAWING.read_text(), "run tools/draw_architecture.py"
    level = draw_architecture.levels(graph)
    assert level["ros"] > level["estimator"] > level["network"] > level["geometry"]


def test_cycles_are_found():
    with pytest.raises(ValueError, match="a -> b -> a"):
        draw_architecture.levels({"a": {"b"}, "b": {"a"}})


def test_architecture_page_names_every_folder():
    text = (ROOT / "docs/architecture.md").read_text()
    assert {unit for unit in draw_architecture.import_graph() if f"`{unit}`" not in text} <= {"estimator"}


def test_version_is_the_same_everywhere():
    version = wildhands_ros.__version__
    assert f"<version>{version}</version>" in (ROOT / "package.xml").read_text()
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version


WORKFLOWS = sorted((ROOT / ".github").rglob("*.yml"))


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_github_files_parse(file):
    content = yaml.safe_load(file.read_text())
    if file.parent.name == "workflows":
        assert {"name", "on", "jobs"} <= set(content)
        for job in content["jobs"].values():
            assert job["steps"] and job["timeout-minutes"] and "runs-on" in job
    elif file.parent.name == "ISSUE_TEMPLATE" and file.name != "config.yml":
        assert {"name", "description", "body"} <= set(content)


def test_make_targets_that_pages_name_exist():
    targets = set(re.findall(r"^([\w-]+):(?!=)", (ROOT / "Makefile").read_text(), re.M))
    for page in PAGES:
        named = set(re.findall(r"(?:^ {4}|`)make ([a-z][\w-]*)", page.read_text(), re.M))
        assert named <= targets, f"{page.name}: {sorted(named - targets)}"


def test_command_line_page_lists_every_command():
    usage = subprocess.run(
        [sys.executable, "-m", "wildhands_ros.cli.main", "--help"], capture_output=True, text=True, check=True
    ).stdout
    commands = set(re.findall(r"^    ([a-z][\w-]*)", usage, re.M))
    page = (ROOT / "docs/command_line.md").read_text()
    rows = {name for row in re.findall(r"^\| (`.*?) \|", page, re.M) for name in re.findall(r"`([\w-]+)`", row)}
    assert commands and commands <= rows


def test_readme_is_one_page():
    assert len((ROOT / "README.md").read_text().splitlines()) < 85
