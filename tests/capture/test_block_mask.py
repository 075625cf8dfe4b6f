"""datasets/masks.py on PyTorch's own BlockMask, against the tokens that its mask_mod keeps."""

import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from torch.nn.attention.flex_attention import create_block_mask

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "datasets"))
from masks import write_masks  # noqa: E402

RULES = {"causal": lambda b, h, i, j: i >= j, "window": lambda b, h, i, j: (i >= j) & ((i - j < 200) | (j < 30))}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("heads", [None, 2])
def test_tiles_of_a_block_mask(tmp_path, rule, heads):
    length, (block_q, block_k) = 1000, (128, 64)
    mask = create_block_mask(RULES[rule], None, heads, length, length, device="cpu", BLOCK_SIZE=(block_q, block_k))
    write_masks(tmp_path / "masks.h5", {"p": mask}, heads=2)
    with h5py.File(tmp_path / "masks.h5") as file:
        bits = file["masks/p/bits"]
        assert dict(bits.attrs) == {"block_q": block_q, "block_k": block_k, "k_blocks": 16}
        got = np.unpackbits(bits[:].astype("<u4").view(np.uint8), axis=-1, count=16, bitorder="little")
    tokens = np.zeros((8 * block_q, 16 * block_k), bool)
    tokens[:length, :length] = RULES[rule](None, None, np.arange(length)[:, None], np.arange(length)[None])
    assert np.array_equal(got, np.stack(2 * [tokens.reshape(8, block_q, 16, block_k).any(axis=(1, 3))]))
