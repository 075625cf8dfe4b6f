"""Tables that fit and choose, units, cells that did not run, completions, the manual page, and colours."""

import os
import pty
import shutil
import subprocess

import pytest

from cli_helpers import HANG, PROGRAM, problem


@pytest.fixture
def swept(box):
    """With a cell of each kind: measured, unsupported, not run yet."""
    box.capture(first=problem(kv_len=512), second=problem(kv_len=320, seed=2, causal=False))
    config = box.config({"dense": {}, "block_topk": {"budget": [0.2, 0.5], "label": "ours"}, "streaming": {"local": 64}},
                        save=["masks"])
    box.sweep(config)
    plan = [row["id"] for row in box.rows() if row["method"] == "streaming"]
    box.path(f"out/cells/{plan[0]}.h5").unlink()
    box.run("collect", "out", code=1)  # as one cell has no result
    return box


def table(text):
    """{column: values} of a table; values have no two spaces in a row."""
    lines = text.splitlines()
    marks = lines[1].split("  ")
    starts = [sum(len(mark) + 2 for mark in marks[:i]) for i in range(len(marks))]
    cut = [[line[a:b].strip() for a, b in zip(starts, [*starts[1:], None])] for line in lines[:1] + lines[2:]]
    return {column[0]: list(column[1:]) for column in zip(*cut[:lines.index("") - 1])}


def test_cells_that_did_not_run_are_summed_up(swept):
    text = swept.run("report", "out").stdout
    assert "1 cell of streaming interrupted: not run yet; --resume runs it" in text
    assert "unsupported:" in text and "streaming" not in "".join(table(text)["method"])
    assert "streaming" in table(swept.run("report", "out", "--all").stdout)["method"]
    assert swept.run("report", "out", "--format", "csv").stdout.count("streaming-") == 4  # id, and in the line to repeat


def test_columns_and_order_are_chosen(swept):
    text = swept.run("report", "out", "--columns", "method,settings,total,total_s,kv_len", "--sort", "total").stdout
    rows = table(text)
    assert list(rows) == ["method", "settings", "total", "total_s", "kv_len"]
    times = [float(x) for x in rows["total_s"]]
    assert times == sorted(times) and all(x.endswith(("µs", "ms", " s")) for x in rows["total"])
    best = table(swept.run("report", "out", "--sort", "recall").stdout)["recall"]
    assert best == sorted(best, reverse=True)
    swept.fails(2, "report", "out", "--columns", "spedup", says=["there is no column 'spedup'", "'speedup'"])
    swept.fails(2, "report", "out", "--sort", "no", says=["there is no column 'no'"])


def test_methods_and_problems_are_chosen(swept):
    rows = table(swept.run("report", "out", "--method", "ours", "--problem", "first*").stdout)
    assert set(rows["method"]) == {"ours"} and set(rows["problem"]) == {"first"}
    swept.fails(2, "report", "out", "--method", "our", says=["no method is called 'our'", "'ours'"])
    swept.fails(2, "report", "out", "--problem", "third", says=["no problem is called 'third'"])


def test_a_table_is_as_wide_as_the_terminal(swept):
    wide = swept.run("report", "out").stdout
    assert "p05" in wide and "left out" not in wide
    for columns in (80, 100, 120):
        swept.env["COLUMNS"] = str(columns)
        text = swept.run("report", "out").stdout
        rows = text[: text.index("\n\n")].splitlines()
        assert max(map(len, rows)) <= columns
        assert f"left out, as the terminal is {columns} wide:" in text
        for name in ("problem", "method", "settings", "recall", "rel_l2", "speedup"):
            assert name in rows[0]
    assert "p05" in swept.run("report", "out", "--format", "md").stdout  # a file has no width


def test_the_front_is_marked(swept):
    rows = table(swept.run("report", "out", "--problem", "first").stdout)
    marked = {(m, t) for m, t, speedup in zip(rows["method"], rows["settings"], rows["speedup"]) if speedup.endswith("*")}
    cells = [r for r in swept.rows() if r["problem"] == "first" and r["status"] == "ok"]
    front = {(r["label"] or r["method"], r["settings"]) for r in cells
             if not any(o["speedup"] >= r["speedup"] and o["rel_l2"] <= r["rel_l2"]
                        and (o["speedup"], o["rel_l2"]) != (r["speedup"], r["rel_l2"]) for o in cells)}
    assert marked == front and front


def on_terminal(box, *arguments, columns=60, **env):
    """What the program writes to a terminal of so many columns."""
    import fcntl
    import struct
    import termios

    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen([PROGRAM, *map(str, arguments)], cwd=box.folder, env={**box.env, **env},
                               stdout=subprocess.DEVNULL, stderr=child)
    os.close(child)
    text = b""
    while True:
        try:
            text += (part := os.read(parent, 4096))
        except OSError:
            break
        if not part:
            break
    os.close(parent)
    assert process.wait(timeout=HANG) == 0
    return text.decode()


def test_progress_never_wraps_and_begins_with_what_is_left(box):
    config = box.config({"dense": {}, "block_topk": {"budget": [0.2, 0.4, 0.6]}})
    text = on_terminal(box, "run", config, "-o", "out", columns=50)
    shown = [part.split("\n")[0].rstrip("\r") for part in text.split("\r\x1b[K")[1:]]
    assert shown and max(map(len, shown)) < 50
    assert any(part.startswith("eta ") for part in shown)


def test_colours_can_be_off(box):
    box.capture()
    box.path("text.h5").write_text("")
    coloured = on_terminal(box, "run", box.config({"dense": {}}, backend=["cpu", "cuda"]), "--dry-run", TERM="xterm")
    if "warning" not in coloured:
        pytest.skip("nothing to warn of on a machine with a GPU")
    plain = on_terminal(box, "run", box.config({"dense": {}}, backend=["cpu", "cuda"]), "--dry-run", TERM="xterm", NO_COLOR="1")
    assert "\x1b[33m" in coloured and "\x1b[" not in plain.replace("\x1b[K", "")


def complete(script, *words):
    call = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _salebench; printf "%s\\n" "${COMPREPLY[@]}"'
    return subprocess.run(["bash", "-c", call, "bash", script, *words], text=True, capture_output=True, check=True).stdout.split()


def test_bash_completes_verbs_options_and_values(box):
    script = box.path("salebench.bash")
    script.write_text(box.run("completion", "bash").stdout)
    assert complete(script, "salebench", "cal") == ["calibrate"]
    assert "--sort" in complete(script, "salebench", "report", "runs", "--so")
    assert complete(script, "salebench", "report", "runs", "--format", "") == ["table", "md", "csv", "json"]
    assert complete(script, "salebench", "list", "sal") == ["sale", "sale_pooled"]
    assert set(complete(script, "salebench", "help", "re")) == {"report"}


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_can_read_theirs(box, shell):
    script = box.path(f"salebench.{shell}")
    script.write_text(box.run("completion", shell).stdout)
    assert "--sort" in script.read_text() or "-l sort" in script.read_text()
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    subprocess.run([shell, "-n", script], check=True)


def test_the_manual_page_has_every_verb_and_option(box):
    page = box.path("salebench.1")
    page.write_text(box.run("completion", "man").stdout)
    text = page.read_text().replace("\\-", "-")
    for verb in ("run", "report", "compare", "import", "init", "collect", "calibrate"):
        assert f".SS {verb}\n" in text
    for words in ("--shard", "--live", "--append", "Exit codes: 0 all done"):
        assert words in text
    if shutil.which("man"):
        shown = subprocess.run(["man", "--warnings", "-l", page], capture_output=True, text=True, check=True)
        assert not shown.stderr, shown.stderr


def test_a_page_takes_the_place_of_nothing_else(swept):
    before = swept.path("out/run.h5").read_bytes()
    swept.fails(2, "report", "out", "--html", "out/run.h5", says=["is what the page is made of"])
    swept.fails(2, "report", "out/run.h5", "--html", "out/run.h5", says=["is what the page is made of"])
    swept.path("folder").mkdir()
    swept.fails(6, "report", "out", "--html", "folder", says=["no regular file"])
    swept.fails(2, "report", "out", "--html", "", says=["needs the name of a file"])
    assert swept.path("out/run.h5").read_bytes() == before


def test_a_damaged_run_is_read_from_its_cells(swept):
    before = swept.run("report", "out").stdout
    swept.path("out/run.h5").write_text("damaged")
    assert swept.run("report", "out").stdout == before


def test_tables_alone_have_columns_to_choose(swept):
    swept.fails(2, "report", "out", "--format", "csv", "--sort", "total", says=["are of tables"])
    swept.fails(2, "list", "columns", "--json", says=["as Markdown alone"])


def test_a_bar_in_a_label_stays_in_its_column(box):
    box.sweep(box.config({"dense": {"label": "a|b"}}), "--quick")
    lines = box.run("report", "out", "--format", "md").stdout.splitlines()
    assert "a\\|b" in lines[2] and lines[2].replace("\\|", "").count("|") == lines[0].count("|")
