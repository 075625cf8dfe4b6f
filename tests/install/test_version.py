"""One version: in the build, the citation and the changelog."""

import re

from install_helpers import BUILD, ROOT, checked


def test_build_citation_and_changelog_agree():
    version = re.search(r"project\(salebench VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text())[1]
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)[1]
    released = re.findall(r"^## \[(\d.*?)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert version == cited == released[0] == checked(BUILD / "salebench", "--version").split()[1]
