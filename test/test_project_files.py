"""What describes the project to others agrees with what it is."""

from pathlib import Path

import yaml

import occfusion_ros

REPOSITORY = Path(__file__).resolve().parents[1]


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
    assert [entry.split()[:4] for entry in entries] == [[".venv/bin/python", "-m", "ruff", "check"],
                                                        [".venv/bin/python", "-m", "ruff", "format"]]
