"""Runs the notebooks on a run or a calibration and writes them as HTML: render.py RUN [--out DIR]."""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

os.environ.update(PYDEVD_DISABLE_FILE_VALIDATION="1", JUPYTER_PLATFORM_DIRS="1")  # silences ipykernel and jupyter
warnings.filterwarnings("ignore")

import nbformat  # noqa: E402
from nbclient import NotebookClient  # noqa: E402
from nbclient.exceptions import CellExecutionError  # noqa: E402
from nbconvert import HTMLExporter  # noqa: E402

FOLDER = Path(__file__).resolve().parent
OF_CALIBRATIONS = {"equal_error"}  # notebooks that read a calibration.h5; the others read a run.h5
sys.path.insert(0, str(FOLDER.parent / "results"))
import load as results  # noqa: E402


def render(notebook: Path, out: Path) -> Path:
    """Runs one notebook and writes it to `out` as HTML, code hidden."""
    document = nbformat.read(notebook, as_version=4)
    client = NotebookClient(document, timeout=None, resources={"metadata": {"path": str(FOLDER)}})
    client.execute(stderr=subprocess.DEVNULL)  # the chatter of the kernel; errors of cells come as exceptions
    html, _ = HTMLExporter(exclude_input=True, exclude_output_prompt=True).from_notebook_node(
        document, resources={"metadata": {"name": notebook.stem}}
    )
    page = out / f"{notebook.stem}.html"
    page.write_text(html, encoding="utf-8")
    return page


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs the notebooks on a run of salebench and writes HTML and plots.")
    parser.add_argument("run", type=Path, metavar="RUN", help="folder or .h5 of a run or a calibration")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where notebooks/ and plots/ go; default: the run's")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    path = arguments.run / "calibration.h5" if (arguments.run / "calibration.h5").is_file() else arguments.run
    calibrated = path.name == "calibration.h5"
    try:
        if calibrated:
            results.calibration(path)
        else:
            path = results.load(path).path
    except (OSError, ValueError, KeyError) as error:
        print(f"render.py: cannot read {arguments.run}: {error}", file=sys.stderr)
        return 1
    out = (arguments.out or path.parent).resolve()
    os.environ["SALEBENCH_CALIBRATION" if calibrated else "SALEBENCH_RUN"] = str(path.resolve())
    os.environ["SALEBENCH_OUT"] = str(out)
    pages, before = [], {file: file.stat().st_mtime_ns for file in out.glob("plots/*.png")}
    for notebook in sorted(FOLDER.glob("*.ipynb")):
        if (notebook.stem in OF_CALIBRATIONS) != calibrated:
            continue
        try:
            (out / "notebooks").mkdir(parents=True, exist_ok=True)
            pages.append(render(notebook, out / "notebooks"))
        except Exception as error:  # also a kernel that does not start or dies, a full disk
            cell = isinstance(error, CellExecutionError)
            why = f"{error.ename}: {error.evalue}" if cell else f"{type(error).__name__}: {error}"
            print(f"render.py: {notebook.name} failed: {why}".splitlines()[0], file=sys.stderr)
            return 1
    new = [file for file in sorted(out.glob("plots/*.png")) if before.get(file) != file.stat().st_mtime_ns]
    print("open in a browser:", *pages, "plots (each beside its PDF):", *new, sep="\n  ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
