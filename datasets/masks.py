"""Writes block masks for the method `external` from boolean arrays of NumPy or PyTorch.

    from masks import write_masks
    kept = my_selection(q, k)                                  # bool [heads, q_blocks, k_blocks]
    write_masks("mine.h5", {"layer17_kv1": kept}, block=(64, 64))
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np


def write_masks(path: str | Path, masks: Mapping[str, object], block: tuple[int, int]) -> None:
    """Writes masks by the id of their problem. A mask is boolean, [heads, q_blocks, k_blocks]; True keeps a tile.

    block: tile size in tokens, (query rows, keys); (1, 1) makes a token mask. Anything that NumPy can turn into an array
    will do, such as a PyTorch tensor on the CPU.
    """
    with h5py.File(path, "w") as file:
        for name, mask in masks.items():
            kept = np.asarray(mask)
            if kept.dtype != bool or kept.ndim != 3:
                raise ValueError(f"mask {name} is {kept.dtype} {list(kept.shape)}, not bool [heads, q_blocks, k_blocks]")
            bits = file.create_dataset(f"masks/{name}/bits", data=_pack(kept), compression="gzip", shuffle=True)
            bits.attrs.update(block_q=block[0], block_k=block[1], k_blocks=kept.shape[2])


def _pack(kept: np.ndarray) -> np.ndarray:
    """uint32 [heads, q_blocks, words]: bit b of word w is key block 32 w + b."""
    padded = np.zeros((*kept.shape[:2], -(-kept.shape[2] // 32) * 32), bool)
    padded[..., : kept.shape[2]] = kept
    return np.packbits(padded, axis=-1, bitorder="little").view("<u4")
