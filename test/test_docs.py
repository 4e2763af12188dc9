"""The README keeps up with the code."""

import re
from pathlib import Path

from occfusion_ros.ros.node.parameters import markdown_table

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_parameter_table_is_the_one_the_code_declares():
    table = re.search(r"<!-- parameters: .*? -->\n(.*?)<!-- end of parameters -->", README, re.S).group(1)
    assert table.strip() == markdown_table().strip(), "copy the output of python -m occfusion_ros.ros.node.parameters"


def test_links_lead_somewhere():
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("models/zoo/*/README.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
