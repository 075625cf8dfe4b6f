"""Masks from files: the method `external`, datasets/masks.py, and masks that a run has saved."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from cli_helpers import ACCURACY, Box, problem

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "datasets"))
from masks import write_masks  # noqa: E402

SINK, LOCAL, LENGTH = 5, 70, 333


@pytest.fixture
def box(tmp_path):
    return Box(tmp_path)


def window_tokens(q_len, kv_len):
    """The token mask of sink and local window, bool [1, q_len, kv_len]."""
    position = np.arange(kv_len - q_len, kv_len)[:, None]
    key = np.arange(kv_len)[None, :]
    return ((key <= position) & ((key < SINK) | (position - key < LOCAL)))[None]


@pytest.mark.parametrize("q_len", [LENGTH, 100])
def test_token_mask_of_a_window_equals_streaming(box, q_len):
    box.capture(p=problem(kv_len=LENGTH, q_len=q_len))
    write_masks(box.path("window.h5"), {"p": np.repeat(window_tokens(q_len, LENGTH), 2, axis=0)}, block=(1, 1))
    rows = box.sweep(box.config({"streaming": {"sink": SINK, "local": LOCAL}, "external": {"masks": "window.h5"}}))
    streaming, external = rows
    assert external["status"] == "ok" and "no selection" in external["reason"]
    for name in set(ACCURACY) - {"tile_density", "flops_executed"}:  # these two are about tiles, which differ in size
        assert external[name] == pytest.approx(streaming[name], rel=1e-5, abs=1e-7), name
    assert math.isnan(external["select_s"]) and external["total_s"] == external["attend_s"] > 0


def test_block_mask_gives_back_what_a_method_selected(box):
    box.capture(p=problem(kv_len=1400))
    saved = box.sweep(box.config({"sale": {"threshold": 0.01}}, save=["masks"]), out="saved")[0]
    again = box.sweep(box.config({"external": {"masks": "saved/run.h5"}}), out="again")[0]
    named = box.sweep(box.config({"external": {"masks": "saved/run.h5", "mask": saved["id"]}}), out="named")[0]
    for row in (again, named):
        assert {name: row[name] for name in ACCURACY} == {name: saved[name] for name in ACCURACY}


def test_windows_of_saved_masks_are_kept(box):
    saved = box.sweep(box.config({"streaming": {"sink": 3, "local": 50}}, save=["masks"]), out="saved")[0]
    again = box.sweep(box.config({"external": {"masks": "saved/run.h5"}}), out="again")[0]
    assert {name: again[name] for name in ACCURACY} == {name: saved[name] for name in ACCURACY}


def test_rows_that_keep_nothing_are_zero_and_tiles_of_the_future_are_left_out(box):
    kept = np.zeros((2, 5, 5), bool)
    kept[1] = True
    write_masks(box.path("masks.h5"), {"p": kept}, block=(64, 64))
    row = box.sweep(box.config({"external": {"masks": "masks.h5"}}))[0]
    assert row["density"] == pytest.approx(0.5) and row["recall_mean"] == pytest.approx(0.5)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_boolean_arrays_of_npz_are_the_same_masks(box, save):
    kept = np.random.default_rng(3).random((2, 10, 10)) < 0.4
    kept[:, np.arange(10), np.arange(10)] = True
    write_masks(box.path("masks.h5"), {"p": kept}, block=(32, 32))
    save(box.path("masks.npz"), p=kept, other=kept[:, :3])
    tiles = {"block_q": 32, "block_k": 32}
    rows = box.sweep(box.config({"external": [{"masks": "masks.h5"}, {"masks": "masks.npz", **tiles}]}))
    assert [row["status"] for row in rows] == ["ok", "ok"]
    assert {name: rows[0][name] for name in ACCURACY} == {name: rows[1][name] for name in ACCURACY}
    save(box.path("numbers.npz"), p=kept.astype(np.float32))
    row = box.sweep(box.config({"external": {"masks": "numbers.npz"}}), out="numbers", code=1)[0]
    assert "is not a boolean array" in row["reason"]


def test_another_mask_file_is_another_cell(box):
    config = box.config({"external": {"masks": "masks.h5"}})
    for share in (1, 2):
        write_masks(box.path("masks.h5"), {"p": np.tri(5, dtype=bool)[None].repeat(2, 0) & (share == 1)}, block=(64, 64))
        box.sweep(config, *(["--resume"] if share == 2 else []))
    assert len(list(box.path("out/cells").glob("external-*.h5"))) == 2


def test_masks_that_do_not_fit(box):
    config = box.config({"external": {"masks": "masks.h5"}})
    box.fails(5, "run", config, "-o", "out", says=["cannot read", "masks.h5"])
    write_masks(box.path("masks.h5"), {"p": np.ones((2, 4, 5), bool)}, block=(64, 64))
    row = box.sweep(config, code=4)[0]
    assert row["status"] == "unsupported" and "[2, 4, 5]" in row["reason"] and "[2, 5, 5]" in row["reason"]
    write_masks(box.path("masks.h5"), {"a": np.ones((2, 5, 5), bool), "b": np.ones((2, 5, 5), bool)}, block=(64, 64))
    row = box.sweep(config, out="other", code=1)[0]
    assert row["status"] == "error" and "no mask 'p'" in row["reason"]
    assert box.sweep(box.config({"external": {}}), out="none", code=4)[0]["status"] == "unsupported"


def test_write_masks_refuses_what_is_no_mask(tmp_path):
    for bad in (np.ones((2, 5, 5)), np.ones((5, 5), bool)):
        with pytest.raises(ValueError, match="not bool"):
            write_masks(tmp_path / "bad.h5", {"p": bad}, block=(64, 64))
