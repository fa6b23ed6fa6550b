"""The application of docs/applications.md, installed beside the node's own as a site would."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from factories import head, mr_series, write
from places import ROOT
from processes import TOML, Node, free_port, storescp, storescu, wait_until
from pydicom import dcmread

ROUTE = 'name = "virtual-biopsy"'


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder of packages that holds the guide's application, on the path of every process."""
    guide = (ROOT / "docs" / "applications.md").read_text("utf-8")
    (code,) = re.findall(r"<!-- example -->\n```python\n(.*?)```", guide, re.DOTALL)
    packages = tmp_path / "packages"
    information = packages / "projection-1.0.dist-info"
    information.mkdir(parents=True)
    (packages / "projection.py").write_text(code)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: projection\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[vb_node.applications]\nprojection = projection:application\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(packages), os.environ.get("PYTHONPATH")])))
    return packages


def test_the_guides_application_works_by_hand(site: Path, tmp_path: Path) -> None:
    series = mr_series(head((20, 32, 32)))
    write(series, tmp_path / "in")
    command = [sys.executable, "-m", "vb_node", "process", "in", "--out", "out", "--application", "projection"]

    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    (result,) = [dcmread(path) for path in (tmp_path / "out").glob("*.dcm")]
    assert (result.PatientID, result.StudyInstanceUID) == (series[0].PatientID, series[0].StudyInstanceUID)
    assert result.pixel_array.shape == (32, 32)


def test_the_guides_application_works_in_the_cell_of_a_node(site: Path, tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()
    port, pacs_port = free_port(), free_port()
    toml = TOML.format(port=port, pacs_port=pacs_port, quiet_s=1)
    toml = toml.replace(ROUTE, 'name = "projections"\napplication = "projection"')
    node = Node(tmp_path / "node", toml, port)
    paths = write(mr_series(head((20, 32, 32))), tmp_path / "in")

    with storescp(tmp_path / "pacs", pacs_port) as received:
        node.start()
        try:
            storescu(node, paths)
            wait_until(lambda: node.is_done(1), 60, "the projection is at the PACS")
            (job,) = node.jobs()
        finally:
            node.stop()
        assert (job.application, job.state) == ("projection", "COMPLETED")
        assert (job.outcome or {})["slices"] == 20
        assert len(list(received.iterdir())) == 1
