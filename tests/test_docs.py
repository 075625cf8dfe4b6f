"""The documentation's examples work: the example method, the configs, and the commands that the pages name."""

import json
import os
import pathlib
import re
import shlex
import subprocess

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = os.environ["SALEBENCH_PROGRAM"]
EXAMPLE_PROGRAM = os.environ["SALEBENCH_EXAMPLE_PROGRAM"]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("*/README.md"))]


def run(program, *arguments, cwd=ROOT, **environment):
    return subprocess.run([program, *map(str, arguments)], cwd=cwd, env=os.environ | environment, text=True,
                          capture_output=True)


def code_block(page, language):
    """The first fenced block of the language."""
    return re.search(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)[1]


def test_example_method_is_one_short_file_and_runs(tmp_path):
    assert len(code_block(ROOT / "docs/adding_a_method.md", "cpp").splitlines()) < 60
    assert "mean_keys" in run(EXAMPLE_PROGRAM, "list").stdout
    methods = code_block(ROOT / "docs/adding_a_method.md", "yaml")
    sample = ROOT / "datasets/samples/smollm2-135m_kjv_8k.h5"
    config = tmp_path / "own.yaml"
    config.write_text(f"version: 1\ndatasets: [{{path: {sample}, lengths: 1024}}]\n{methods}")
    result = run(EXAMPLE_PROGRAM, "run", config, "--quick", "-o", tmp_path / "out", SALEBENCH_CACHE=str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert run(PROGRAM, "report", tmp_path / "out").stdout.count("mean_keys") == 6


def test_first_own_config_of_the_readme_runs(tmp_path):
    config = ROOT / "configs" / "test_readme_example.yaml"
    config.write_text(code_block(ROOT / "README.md", "yaml"))
    try:
        result = run(PROGRAM, "run", config, "--quick", "-o", tmp_path / "out", SALEBENCH_CACHE=str(tmp_path))
    finally:
        config.unlink()
    assert result.returncode == 0, result.stderr


def test_example_notebook_runs(tmp_path, monkeypatch):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    path = ROOT / "notebooks/examples/external_mask.ipynb"
    notebook = nbformat.read(path, as_version=4)
    monkeypatch.setenv("SALEBENCH_CACHE", str(tmp_path))
    monkeypatch.setenv("SALEBENCH_LENGTH", "512")  # a small problem: the program may be built with sanitizers
    nbclient.NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(path.parent)}}).execute()
    table = notebook.cells[-1].outputs[0]["data"]["text/html"]
    assert table.count("<td>mask from a file: no selection to time</td>") == 2 and "block_topk" in table


@pytest.mark.parametrize("config", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_configs_plan(config, tmp_path):
    verb = "calibrate" if "calibrate:" in config.read_text() else "run"
    result = run(PROGRAM, verb, config, "--dry-run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr


def test_methods_page_holds_what_the_program_lists():
    page = (ROOT / "docs/methods.md").read_text()
    listed = run(PROGRAM, "list", "methods", "--format", "md").stdout
    assert page.endswith(listed) and page.count(listed.splitlines()[0]) == 1, f"run: scripts/pages {PROGRAM}"


def test_all_methods_config_holds_what_the_program_lists():
    config = (ROOT / "configs/all_methods.yaml").read_text()
    listed = run(PROGRAM, "list", "methods", "--format", "yaml").stdout
    assert config.endswith("\n" + listed), f"run: scripts/pages {PROGRAM}"
    named = re.findall(r"^  (\w+):", listed, re.MULTILINE)
    registered = [method["name"] for method in json.loads(run(PROGRAM, "list", "methods", "--json").stdout)]
    assert sorted(named) == sorted(set(registered) - {"external"})


def salebench_commands():
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
            for line in block.splitlines():
                if "salebench " in line and not line.startswith("#"):
                    yield pytest.param(shlex.split(line, comments=True), id=f"{page.relative_to(ROOT)}: {line}")


@pytest.mark.parametrize("words", list(salebench_commands()))
def test_commands_of_the_pages_are_valid(words, tmp_path):
    """Runs list, info and dry runs as they stand; of the others, checks that the verb knows the options."""
    arguments = words[words.index(next(word for word in words if word.endswith("salebench"))) + 1:]
    if "--plugin" in arguments:  # tests/install builds what is named there
        known = run(PROGRAM, arguments[0], "--help").stdout + run(PROGRAM, "--help").stdout
        assert not [word for word in arguments if word.startswith("-") and word not in known]
    elif arguments[0] in ("list", "info"):
        assert run(PROGRAM, *arguments).returncode == 0
    elif arguments[0] in ("run", "calibrate") and arguments[1] != "model.yaml":  # which test_own_tensors_become_a_page makes
        assert run(PROGRAM, *arguments, "--dry-run").returncode == 0
    else:
        known = run(PROGRAM, arguments[0], "--help").stdout
        for option in (word for word in arguments if word.startswith("-")):
            assert option in known


def test_own_tensors_become_a_page(tmp_path):
    """The README's way from files to a page, word for word."""
    block, = [block for block in re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
              if "salebench import dumps/" in block]
    (tmp_path / "dumps").mkdir()
    draw = np.random.default_rng(1)
    for layer in range(8):
        for name, heads in (("q", 2), ("k", 1), ("v", 1)):
            np.save(tmp_path / f"dumps/layer{layer}_{name}.npy", draw.standard_normal((heads, 192, 32), np.float32))
    lines = block.splitlines()
    assert len(lines) <= 6
    for line in lines:
        words = shlex.split(line, comments=True)
        assert words.pop(0) == "salebench"
        if words[0] == "run":
            words += ["--quick", "--only", "*layer00*"]  # as a test has no time for all of it
        result = subprocess.run([PROGRAM, *words], cwd=tmp_path, capture_output=True, text=True)
        assert result.returncode == 0, (line, result.stderr)
    page = (tmp_path / "model.html").read_text()
    assert page.startswith("<!doctype html>") and "layer00" in page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_that_pages_name_exist(page):
    for path in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in path:
            assert (page.parent / path).exists(), path
