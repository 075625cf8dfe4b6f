"""Configs whose parts are shared by anchors, aliases and merge keys, and overrides of one of the users."""

import pytest
from cli_helpers import Box, cases


@pytest.fixture
def box(tmp_path):
    box = Box(tmp_path)
    box.capture()
    return box


def write(box, text, name="config.yaml"):
    box.path(name).write_text(text)
    return box.path(name)


def place_of(text, word):
    """"line:column" of a word in a text, from 1."""
    before = text[:text.index(word)]
    return f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


def refused(box, config, *arguments, says):
    box.fails(2, "run", config, "-o", "out", *arguments, says=says)
    assert not box.path("out").exists()


SHARED = """version: 1
x-grid: &grid {budget: [0.1, 0.2], sink: 0}
datasets:
  - &first {path: capture.h5, lengths: [64]}
  - *first
methods:
  block_topk: *grid
  vertical_slash: {<<: {sink: 2}, local: 64}
  oracle_topk: {<<: *grid, budget: 0.3}
  streaming: {<<: [{local: 4}, {sink: 1, local: 5}]}
"""


def settings(box, config, *arguments):
    """The settings of each method's cells at 64 tokens."""
    cells = {}
    for line in box.run("run", config, "--dry-run", *arguments).stdout.splitlines():
        if line.startswith("run") and line.endswith("| p 64"):
            method, *values = line.split("|")[0].split()[2:]
            cells.setdefault(method, []).append(" ".join(values))
    return cells


def test_anchors_and_merge_keys(box):
    assert settings(box, write(box, SHARED)) == {
        "block_topk": ["budget=0.1 sink=0", "budget=0.2 sink=0"], "vertical_slash": ["local=64 sink=2"],
        "oracle_topk": ["budget=0.3 sink=0"], "streaming": ["local=4 sink=1"]}


# changes SHARED, the word whose place is named, what the message says
WRONG_MERGES = {
    "unknown merged key": (("&grid {", "&grid {sinc: 1, "), "sinc", ["methods.block_topk.sinc", "'sink'"]),
    "unknown key beside a merge": (("<<: *grid, budget", "<<: *grid, bugdet"), "bugdet", ["'budget'"]),
    "no map": (("{<<: *grid, ", "{<<: 3, "), "3, budget", ["methods.oracle_topk.<<", "map of keys"]),
    "a list with no map": (("{sink: 1, local: 5}", "7"), "[{local: 4}, 7]", ["methods.streaming.<<", "map of keys"]),
    "twice": (("<<: *grid, budget", "<<: *grid, <<: {}, budget"), "<<: {}", ["is there twice"]),
    "itself": (("&grid {", "&grid {<<: *grid, "), "&grid", ["x-grid.<<", "refers to itself"]),
}


@pytest.mark.parametrize("change, word, says", cases(WRONG_MERGES))
def test_wrong_merge(box, change, word, says):
    assert change[0] in SHARED
    config = write(box, SHARED.replace(*change))
    refused(box, config, says=[f"{config}:{place_of(config.read_text(), word)}: ", *says])


# override, the cells that it changes
ONE_USER = {
    "an alias": ("methods.block_topk.budget=0.5", {"block_topk": ["budget=0.5 sink=0"]}),
    "a merged key": ("methods.streaming.sink=3", {"streaming": ["local=4 sink=3"]}),
    "a new key": ("methods.block_topk.local=3", {"block_topk": ["budget=0.1 local=3 sink=0", "budget=0.2 local=3 sink=0"]}),
    "a merge of its own": ("methods.streaming={<<: {sink: 5}, local: 8}", {"streaming": ["local=8 sink=5"]}),
}


@pytest.mark.parametrize("override, changed", cases(ONE_USER))
def test_override_of_one_user_leaves_the_others(box, override, changed):
    config = write(box, SHARED)
    assert settings(box, config, "--set", override) == settings(box, config) | changed


def test_override_of_one_user_in_a_list(box):
    config = write(box, SHARED.replace("&grid {budget: [0.1, 0.2], sink: 0}", "&grid {budget: 0.1}"))
    lengths = [line.split()[-1] for line in
               box.run("run", config, "--dry-run", "--set", "datasets.1.lengths=[128]", "--set", "datasets.1.repeat=2"
                       ).stdout.splitlines() if "block_topk" in line]
    assert lengths == ["64", "x2"], lengths


def test_place_of_a_mistake_beside_an_override(box):
    """What the override copies on its way keeps its place."""
    config = write(box, SHARED.replace("methods:", "measure: {max_time: 1, warmup: x}\nmethods:"))
    refused(box, config, "--set", "measure.max_time=2", says=[f"{config}:{place_of(config.read_text(), 'x}')}: "])
    config = write(box, SHARED.replace("lengths: [64]", "repeat: 1").replace("path: capture.h5, ", ""))
    refused(box, config, "--set", "datasets.1.lengths=64",
            says=[f"{config}:{place_of(config.read_text(), '&first')}: datasets.0.path: is missing"])


def test_the_stored_config_is_written_out(box):
    config = write(box, SHARED)
    box.run("run", config, "--quick", "-o", "out", "--only", "streaming*", "--set", "methods.block_topk.budget=0.5")
    stored = box.path("out/config.yaml").read_text()
    assert "*" not in stored and "&" not in stored and "<<" not in stored
    again = write(box, stored, "again.yaml")
    assert settings(box, again) == settings(box, config, "--set", "methods.block_topk.budget=0.5")
