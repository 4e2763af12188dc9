"""What describes the project to others agrees with what it is."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from test_packaging import canonical

import occfusion_ros

REPOSITORY = Path(__file__).resolve().parents[1]
WORKFLOW = REPOSITORY / ".github/workflows/ci.yml"
SCRIPTS = [".ci/run", ".ci/ros", "docker/entrypoint.sh"]


def test_the_citation_names_this_version_and_the_paper():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0" and {"message", "title", "authors"} <= citation.keys()
    assert (citation["version"], citation["license"]) == (occfusion_ros.__version__, "Apache-2.0")
    assert citation["references"][0]["identifiers"][0]["value"] == "arXiv:2403.05329"


def test_the_notice_names_the_license_of_what_is_bundled():
    notice = (REPOSITORY / "NOTICE").read_text()
    for place in ("models/zoo/nano", "tools/tf2_msgs", "tools/tf2_msgs/LICENSE"):
        assert place in notice and (REPOSITORY / place).exists()


def test_pre_commit_runs_the_installed_ruff():
    hooks = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"]
    entries = [hook["entry"] for hook in next(repo for repo in hooks if repo["repo"] == "local")["hooks"]]
    assert [entry.split()[:4] for entry in entries] == [
        [".venv/bin/python", "-m", "ruff", "check"],
        [".venv/bin/python", "-m", "ruff", "format"],
    ]


def jobs() -> dict[str, dict]:
    return yaml.safe_load(WORKFLOW.read_text())["jobs"]


@pytest.mark.parametrize("name", jobs())
def test_a_job_of_the_workflow_is_whole(name):
    job = jobs()[name]
    assert {"name", "runs-on", "timeout-minutes", "steps"} <= job.keys()
    assert all(("uses" in step) != ("run" in step) for step in job["steps"])
    axes = job.get("strategy", {}).get("matrix", {})
    assert set(re.findall(r"matrix\.(\w+)", str(job))) == set(axes)


def test_the_workflow_runs_steps_that_there_are():
    runs = [step["run"] for job in jobs().values() for step in job["steps"] if "run" in step]
    assert ".ci/run" in runs
    defined = re.findall(r"^(\w+)\(\) \{", (REPOSITORY / ".ci/ros").read_text(), re.MULTILINE)
    steps = [run.split()[1] for run in runs if run.startswith(".ci/ros ")]
    assert steps == [name for name in defined if name != "pinned"]


def test_the_workflow_tries_every_python_that_the_set_up_takes():
    bootstrap = (REPOSITORY / "tools/bootstrap.py").read_text()
    oldest, newest = map(int, re.search(r"OLDEST, NEWEST = \(3, (\d+)\), \(3, (\d+)\)", bootstrap).groups())
    wanted = [f"3.{minor}" for minor in range(oldest, newest + 1)]
    assert jobs()["wheels"]["strategy"]["matrix"]["python"] == wanted


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_can_be_started(script):
    path = REPOSITORY / script
    assert os.access(path, os.X_OK)
    assert subprocess.run([shutil.which("bash"), "-n", path]).returncode == 0


def test_what_containers_install_with_pip_is_pinned():
    pinned = {canonical(line) for line in (REPOSITORY / "constraints.txt").read_text().splitlines() if "==" in line}
    ros, dockerfile = ((REPOSITORY / name).read_text() for name in (".ci/ros", "docker/Dockerfile"))
    names = " ".join(re.findall(r"pinned ([\w\s\\-]+?)(?: [|]|\))", ros)).replace("\\", "").split()
    names += "|".join(re.findall(r'packages\+?="([^"]+)"', dockerfile)).strip("|").split("|")
    assert {"torch", "numba", "safetensors", "nuscenes-devkit", "embreex"} <= set(names) and set(
        filter(None, names)
    ) <= pinned


def test_the_container_image_copies_and_starts_what_there_is():
    dockerfile = (REPOSITORY / "docker/Dockerfile").read_text()
    sources = [source for line in re.findall(r"^COPY (.+) \S+$", dockerfile, re.MULTILINE) for source in line.split()]
    assert len(sources) >= 4 and all((REPOSITORY / source).exists() for source in sources)
    entry = re.search(r'ENTRYPOINT \["/ws/src/occfusion_ros/(.+)"\]', dockerfile)[1]
    assert entry in SCRIPTS
