"""The pages keep up with the code."""

import json
import re
import shlex
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from occfusion_ros.ros.bringup.processes import ARGUMENTS
from occfusion_ros.ros.node.parameters_page import tables

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("models/zoo/*/README.md")]
COMMAND = re.compile(
    r"(?:python3?|torchrun [^`|]*?) -m [\w.]+[^`|#&]*|ros2 run occfusion_ros [^`|#&]+|"
    r"ros2 launch occfusion_ros [^`|#&]+|make [a-z]+(?= |$)[^`|#]*"
)


def test_parameter_tables_are_those_the_code_declares():
    page = (ROOT / "docs/parameters.md").read_text()
    kept = re.search(r"<!-- parameters: .*? -->\n(.*?)<!-- end of parameters -->", page, re.S).group(1)
    assert kept.strip() == tables(), "copy the output of python -m occfusion_ros.ros.node.parameters_page"


def test_the_readme_is_read_in_five_minutes():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("name", ["docs/architecture.md", "docs/security.md", "CONTRIBUTING.md"])
def test_files_that_are_named_exist(name):
    named = re.findall(r"`((?:\w+/)+[\w.]+\.(?:py|yaml|md|xml))`", (ROOT / name).read_text())
    assert named
    assert [path for path in named if not any((ROOT / place / path).exists() for place in ("", "occfusion_ros"))] == []


def documented() -> list[str]:
    """Commands in code, inline or in blocks, of all pages."""
    found = set()
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        code = re.findall(r"```\n(.*?)```", text, re.S) + re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)
        found |= {
            match.strip()
            for block in code
            for line in block.splitlines()
            for match in COMMAND.findall(line.split("#")[0])
        }
    return sorted(found)


def test_commands_are_found():
    assert len(documented()) > 30
    assert "make demo" in documented()


@pytest.mark.parametrize("command", [line for line in documented() if line.startswith("make ")])
def test_a_make_target_is_there(command):
    assert re.search(rf"^{command.split()[1]}:", (ROOT / "Makefile").read_text(), re.M)


@pytest.mark.parametrize("command", [line for line in documented() if line.startswith("ros2 launch")])
def test_a_launch_argument_is_there(command):
    names = {argument.name for argument in ARGUMENTS}
    assert {word.split(":=")[0] for word in shlex.split(command)[4:] if ":=" in word} <= names


def _module(command: str) -> str:
    """The module that a command runs."""
    words = shlex.split(command)
    if words[0] == "ros2":
        found = [entry.value for entry in entry_points(group="console_scripts", name=words[3])]
        script = ROOT / "scripts" / words[3]
        if script.exists():
            return re.search(r"^from (\S+) import main$", script.read_text(), re.M).group(1)
        assert found, f"there is no command {words[3]}"
        return found[0].split(":")[0]
    return words[words.index("-m") + 1]


OURS = [
    line
    for line in documented()
    if line.startswith("ros2 run") or re.search(r"-m (occfusion_ros|models|export|benchmarks|synthetic)\b", line)
]


# All in one process, whose imports they share.
PRINT_HELPS = """
import contextlib, io, json, runpy, sys
helps = {}
for module in sys.argv[1:]:
    sys.argv[1:] = ["--help"]
    with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    helps[module] = text.getvalue()
print(json.dumps(helps))
"""


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    """Help text by module."""
    command = [sys.executable, "-c", PRINT_HELPS, *sorted(set(map(_module, OURS)))]
    return json.loads(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout)


@pytest.mark.parametrize("command", OURS)
def test_a_command_knows_its_options(command, helps):
    text = helps[_module(command)]
    given = {word.split("=")[0] for word in shlex.split(command) if word.startswith("--")}
    assert "usage: " in text
    given -= {"--ros-args", "--enclave", "--nproc-per-node"}
    assert [option for option in given if not re.search(rf"{option}(?![\w-])", text)] == []
