"""Masks from files: the method `external`, datasets/masks.py, and masks that a run has saved."""

import math
import sys
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from cli_helpers import ACCURACY, cases, problem

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "datasets"))
from masks import write_masks  # noqa: E402

SINK, LOCAL, LENGTH = 5, 70, 333


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
    again = box.sweep(box.config({"external": {"masks": "saved/run.h5", "mask": saved["id"]}}), out="again")[0]
    assert {name: again[name] for name in ACCURACY} == {name: saved[name] for name in ACCURACY}
    unnamed = box.sweep(box.config({"external": {"masks": "saved/run.h5"}}), out="unnamed", code=1)[0]
    assert "no mask 'p'" in unnamed["reason"] and saved["id"] in unnamed["reason"]


def test_windows_of_saved_masks_are_kept(box):
    saved = box.sweep(box.config({"streaming": {"sink": 3, "local": 50}}, save=["masks"]), out="saved")[0]
    again = box.sweep(box.config({"external": {"masks": "saved/run.h5", "mask": saved["id"]}}), out="again")[0]
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


@pytest.mark.parametrize("kind", ["npz", "h5"])
def test_the_only_mask_of_a_file_is_not_taken_for_another_problem(box, kind):
    box.capture(layer03=problem(seed=3), layer17=problem(seed=17))
    kept = np.tri(5, dtype=bool)[None].repeat(2, 0)
    if kind == "npz":
        np.savez(box.path("masks.npz"), layer03=kept)
    else:
        write_masks(box.path("masks.h5"), {"layer03": kept}, block=(64, 64))
    rows = box.sweep(box.config({"external": {"masks": f"masks.{kind}"}}), code=1)
    assert [row["status"] for row in rows] == ["ok", "error"]
    assert "no mask 'layer17'" in rows[1]["reason"] and "'layer03'" in rows[1]["reason"]
    assert "mask: NAME" in rows[1]["reason"]
    rows = box.sweep(box.config({"external": {"masks": f"masks.{kind}", "mask": "layer03"}}), out="named")
    assert [row["status"] for row in rows] == ["ok", "ok"] and all("mask=layer03" in row["settings"] for row in rows)


GOOD = np.tri(5, dtype=bool)[None].repeat(2, 0)
REFUSED = {
    "floats": ({"p": np.ones((2, 5, 5))}, (64, 64), "float64, not bool"),
    "other integers": ({"p": 2 * GOOD.astype(int)}, (64, 64), "other values than 0 and 1"),
    "two axes": ({"p": np.ones((5, 5), bool)}, (64, 64), r"\[5, 5\], not \[heads"),
    "no tiles": ({"p": np.ones((2, 0, 5), bool)}, (64, 64), r"\[2, 0, 5\], not"),
    "the second of two": ({"a": GOOD, "p": np.ones((5, 5), bool)}, (64, 64), "mask p"),
    "no block": ({"p": GOOD}, None, "block="),
    "a block of nothing": ({"p": GOOD}, (0, 64), "block="),
    "a path for a name": ({"a/b": GOOD}, (64, 64), "no name of a mask"),
    "no masks": ({}, (64, 64), "no mask"),
}


@pytest.mark.parametrize("masks, block, says", cases(REFUSED))
def test_a_refused_mask_leaves_the_older_file_alone(tmp_path, masks, block, says):
    path = tmp_path / "masks.h5"
    write_masks(path, {"p": GOOD}, block=(64, 64))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=says):
        write_masks(path, masks, block=block)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def stored(path, name="p"):
    with h5py.File(path) as file:
        bits = file[f"masks/{name}/bits"]
        return bits[:], {key: int(value) for key, value in bits.attrs.items()}


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.int64])
def test_integers_0_and_1_are_the_same_mask(tmp_path, kind):
    for name, mask in {"bool": GOOD, "integer": GOOD.astype(kind)}.items():
        write_masks(tmp_path / f"{name}.h5", {"p": mask}, block=(64, 32))
    (bits, attributes), (expected, same) = stored(tmp_path / "integer.h5"), stored(tmp_path / "bool.h5")
    assert np.array_equal(bits, expected) and attributes == same


def block_mask(partial, full, block=(128, 64), length=None):
    """What FlexAttention's BlockMask holds of tiles [batch, heads, q_blocks, k_blocks]; lists are filled up with junk."""
    def listed(tiles):
        order = np.argsort(~tiles, axis=-1, kind="stable").astype(np.int32)
        return tiles.sum(-1).astype(np.int32), order
    (count, indices), (full_count, full_indices) = listed(partial), listed(full if full is not None else partial)
    return SimpleNamespace(BLOCK_SIZE=block, seq_lengths=length or (0, block[1] * partial.shape[-1]),
                           kv_num_blocks=count, kv_indices=indices,
                           full_kv_num_blocks=None if full is None else full_count,
                           full_kv_indices=None if full is None else full_indices)  # fmt: skip


def test_block_masks_of_flex_attention(tmp_path):
    rng = np.random.default_rng(5)
    tiles = rng.integers(0, 3, (1, 2, 40, 70))
    path = tmp_path / "masks.h5"
    write_masks(path, {"p": block_mask(tiles == 1, tiles == 2)})
    write_masks(tmp_path / "plain.h5", {"p": tiles[0] > 0}, block=(128, 64))
    (bits, attributes), (expected, same) = stored(path), stored(tmp_path / "plain.h5")
    assert np.array_equal(bits, expected) and attributes == same == {"block_q": 128, "block_k": 64, "k_blocks": 70}
    write_masks(path, {"p": block_mask(tiles == 1, None)}, block=(128, 64))
    write_masks(tmp_path / "plain.h5", {"p": tiles[0] == 1}, block=(128, 64))
    assert np.array_equal(stored(path)[0], stored(tmp_path / "plain.h5")[0])
    write_masks(path, {"p": block_mask(tiles[:, :1] == 1, None)}, heads=3)
    assert np.array_equal(stored(path)[0], stored(tmp_path / "plain.h5")[0][[0, 0, 0]])
    with pytest.raises(ValueError, match="leave block out"):
        write_masks(path, {"p": block_mask(tiles == 1, None)}, block=(64, 64))
    with pytest.raises(ValueError, match="batch of 2"):
        write_masks(path, {"p": block_mask(np.ones((2, 1, 4, 4), bool), None)})
    with pytest.raises(ValueError, match="2 heads, not 1 or 4"):
        write_masks(path, {"p": block_mask(tiles == 1, None)}, heads=4)
    with pytest.raises(ValueError, match="key blocks that it does not have"):
        write_masks(path, {"p": block_mask(np.ones((1, 1, 4, 4), bool), None, length=(512, 128))})
