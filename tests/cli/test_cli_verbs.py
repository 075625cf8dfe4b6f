"""The verbs beside `run`: list, info, report, collect, help; and command lines that are wrong."""

import csv
import io
import json
import re

import pytest
from cli_helpers import TEST_PROGRAM, problem

VERBS = ["run", "calibrate", "list", "info", "report", "compare", "collect"]


@pytest.fixture
def swept(box):
    """A box with a run of ok, failed and unsupported cells in `out`."""
    box.capture(p=problem(), q=problem(causal=False, seed=2))
    config = box.config({"dense": {}, "streaming": {"local": [64, 128]}, "test_throw": {}, "test_unsupported": {}})
    box.sweep(config, code=1, program=TEST_PROGRAM)
    return box


def test_help(box):
    for words in [[], *([verb] for verb in VERBS)]:
        text = box.run(*words, "--help").stdout
        assert "--help" in text and (not words or words[0] in text)
    text = box.run("--help").stdout
    assert all(verb in text for verb in VERBS) and "Exit codes" in text
    assert box.run().stdout == box.run("help").stdout == text
    assert box.run("help", "list").stdout == box.run("list", "--help").stdout
    assert re.fullmatch(r"salebench \d+\.\d+\.\d+ \(\w+(\+dirty)?\)\n", box.run("--version").stdout)


def test_list_of_a_method(box):
    text = box.run("list", "sale").stdout
    assert text.startswith("sale (version 1, tile 64x32") and "\nkeeps: tiles" in text and "threshold" in text
    box.fails(2, "list", "sael", says=["'sael'", "did you mean 'sale'"])
    box.fails(2, "list", "everything", says=["'everything'"])


@pytest.mark.parametrize("words, says", [
    (["run"], "config"),
    (["run", "config.yaml", "--frob"], "--frob"),
    (["run", "config.yaml", "--set"], "--set"),
    (["run", "config.yaml", "--resume", "--force"], "--force"),
    (["run", "config.yaml", "--resume", "--retry-failed"], "--retry-failed"),
    (["run", "config.yaml", "--force", "--retry-failed"], "--retry-failed"),
    (["report"], "run"),
    (["report", "out", "--format", "xml"], "xml"),
    (["report", "out", "--at-recall", "2"], "--at-recall"),
    (["collect"], "run"),
    (["info", "more"], "more"),
])
def test_wrong_command_line(box, words, says):
    lines = box.run(*words, code=2).stderr.splitlines()
    assert says in lines[0] and lines[1:] == ["Run with --help for more information."]


def test_unknown_verb(box):
    box.fails(2, "reprot", "out", says=["'reprot'", "'report'"])


@pytest.mark.parametrize("words", [["report", "none"], ["report", "."], ["collect", "none"], ["collect", "."]])
def test_no_run_folder(box, words):
    box.fails(2, *words, says=[words[1]])


def test_report_of_another_file(box):
    box.capture()
    box.fails(2, "report", "capture.h5", says=["capture.h5"])


def test_list_methods(box):
    text = box.run("list").stdout
    methods = json.loads(box.run("list", "--json").stdout)
    names = [method["name"] for method in methods]
    assert {"dense", "sale", "streaming", "block_topk", "oracle_topk"} <= set(names)
    for method in methods:
        assert method["version"] >= 1 and method["summary"] and method["name"] in text
        for param in method["params"]:
            assert param["default"] or param["type"] in ("path", "name")
            assert param["allowed"] and param["help"] and param["name"] in text


def test_list_datasets(box):
    box.capture(a=problem(), b=problem(q_heads=4, kv_heads=2, kv_len=64, bfloat16=True))
    text = box.run("list", "datasets", "capture.h5").stdout
    assert "a " in text and "4/2 heads" in text and "bfloat16" in text
    listed = json.loads(box.run("list", "datasets", "capture.h5", "--json").stdout)
    assert [(p["problem"], p["q_heads"], p["kv_heads"], p["kv_len"], p["dtype"], p["layer"]) for p in listed] == [
        ("a", 2, 1, 320, "float16", 3), ("b", 4, 2, 64, "bfloat16", 3)]


def test_list_datasets_below_the_folder(box):
    box.fails(5, "list", "datasets", says=["datasets"])
    box.path("datasets/more").mkdir(parents=True)
    box.capture("datasets/more/x.h5")
    assert "x.h5" in box.run("list", "datasets").stdout


def test_list_columns(swept):
    text = swept.run("list", "columns").stdout
    tables = ("cells", "heads", "samples", "problems")
    named = {line.split("`")[1] for line in text.splitlines() if line.startswith("| `")}
    for table in tables:
        assert f"`/{table}`" in text
        assert set(swept.rows(table=table)[0]) - {"row"} <= named


def test_info(box):
    lines = box.run("info").stdout.splitlines()
    facts = dict(line.split(maxsplit=1) for line in lines if len(line.split(maxsplit=1)) == 2)
    assert any(name.startswith("host.") for name in facts) and any(name.startswith("program.") for name in facts)
    assert any(str(box.cache) in line for line in lines) and any("streaming" in line for line in lines)


def test_report_formats(swept):
    def report(form):
        return swept.run("report", "out", "--all", "--format", form, program=TEST_PROGRAM).stdout

    rows = swept.rows()
    table, _, denominator = report("table").partition("\n\n")
    assert denominator.startswith("speedup: over dense, timed beside each cell\n")
    table = table.splitlines()
    assert len(table) == 2 + len(rows) and table[0].split()[:3] == ["problem", "len", "method"]
    markdown = report("md").partition("\n\n")[0].splitlines()
    assert len(markdown) == 2 + len(rows) and len({line.count("|") for line in markdown}) == 1
    listed = list(csv.DictReader(io.StringIO(report("csv"))))
    assert [row["id"] for row in listed] == [row["id"] for row in rows]
    assert [row["reason"] for row in listed] == [row["reason"] for row in rows]
    data = json.loads(report("json"))
    assert [row["status"] for row in data] == [row["status"] for row in rows]
    assert [row["total_s"] is None for row in data] == [row["status"] != "ok" for row in rows]
    assert swept.run("report", "out/run.h5", "--all", program=TEST_PROGRAM).stdout == report("table")


def test_report_at_recall(swept):
    def picked(recall):
        words = ("report", "out", "--at-recall", recall, "--format", "json")
        return json.loads(swept.run(*words, program=TEST_PROGRAM).stdout)

    rows = [row for row in swept.rows() if row["status"] == "ok"]
    for recall in (0.01, 0.999):
        good = [row for row in rows if row["recall_mean"] >= recall]
        best = {}
        for row in sorted(good, key=lambda row: row["total_s"], reverse=True):
            best[row["problem"], row["method"]] = row["id"]
        assert {(row["problem"], row["method"]): row["id"] for row in picked(recall)} == best
    assert {row["method"] for row in picked(0.999)} == {"dense"}


def test_collect_writes_the_same_file(swept):
    before = swept.rows()
    swept.path("out/run.h5").unlink()
    swept.run("collect", "out", program=TEST_PROGRAM)
    assert repr(swept.rows()) == repr(before)


def test_report_of_a_run_with_methods_that_this_program_lacks(swept):
    """Finished results stay readable with a program that knows fewer methods."""
    assert "test_throw" in swept.run("report", "out/run.h5").stdout
    assert "test_throw" in swept.run("report", "out").stdout
