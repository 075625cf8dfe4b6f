"""Writes block masks for the method `external` from arrays of NumPy or PyTorch, or a BlockMask of FlexAttention.

    from masks import write_masks
    kept = my_selection(q, k)                                  # bool [heads, q_blocks, k_blocks]
    write_masks("mine.h5", {"layer17_kv1": kept}, block=(64, 64))
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np


def write_masks(
    path: str | Path, masks: Mapping[str, object], block: tuple[int, int] | None = None, heads: int | None = None
) -> None:
    """Writes masks by the id of their problem. A mask is [heads, q_blocks, k_blocks], boolean or integers 0 and 1; True
    keeps a tile. Anything that NumPy can turn into such an array will do, and PyTorch tensors of any device.

    A BlockMask of FlexAttention keeps the tiles that it computes, whole: what its mask_mod drops inside a tile, beyond
    causality, is not stored. A token mask, block (1, 1), is exact.

    block: tile size in tokens, (query rows, keys); a BlockMask knows its own. heads: repeats masks of one head, such as
    a BlockMask made with H=None, for that many query heads. Raises ValueError, and leaves a file at `path` alone, if
    anything is no mask.
    """
    if not masks:
        raise ValueError("there is no mask to write")
    ready = {name: _checked(name, mask, block, heads) for name, mask in masks.items()}
    part = Path(f"{path}.part")
    try:
        with h5py.File(part, "w") as file:
            for name, (kept, tile) in ready.items():
                bits = file.create_dataset(f"masks/{name}/bits", data=_pack(kept), compression="gzip", shuffle=True)
                bits.attrs.update(block_q=tile[0], block_k=tile[1], k_blocks=kept.shape[2])
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _checked(name: str, mask: object, block: tuple[int, int] | None, heads: int | None) -> tuple[np.ndarray, tuple]:
    """The mask as booleans and its tile size."""
    if not name or "/" in name or name in (".", ".."):
        raise ValueError(f"{name!r} is no name of a mask: it is that of a problem")
    if hasattr(mask, "kv_num_blocks"):
        kept, own = _of_block_mask(name, mask)
        if block is not None and tuple(block) != own:
            raise ValueError(f"mask {name} has blocks of {own}, not {tuple(block)}: leave block out")
        block = own
    else:
        kept = _array(mask)
    if kept.dtype != bool and not (np.issubdtype(kept.dtype, np.integer) and np.isin(kept, (0, 1)).all()):
        what = "has other values than 0 and 1" if np.issubdtype(kept.dtype, np.integer) else f"is {kept.dtype}"
        raise ValueError(f"mask {name} {what}, not bool: True, or 1, keeps a tile (of an additive mask: mask == 0)")
    if kept.ndim != 3 or 0 in kept.shape:
        raise ValueError(f"mask {name} is {list(kept.shape)}, not [heads, q_blocks, k_blocks]")
    if block is None or len(block) != 2 or any(int(side) != side or side < 1 for side in block):
        raise ValueError(f"mask {name} needs the size of its tiles, block=(query rows, keys), not {block}")
    if heads is not None and kept.shape[0] not in (1, heads):
        raise ValueError(f"mask {name} has {kept.shape[0]} heads, not 1 or {heads}")
    kept = kept.astype(bool)
    return np.repeat(kept, heads, axis=0) if heads is not None and kept.shape[0] == 1 else kept, tuple(map(int, block))


def _array(x: object) -> np.ndarray:
    return np.asarray(x.detach().cpu() if hasattr(x, "detach") else x)


def _of_block_mask(name: str, mask: object) -> tuple[np.ndarray, tuple[int, int]]:
    """The tiles that a BlockMask computes, in part or in full, bool [heads, q_blocks, k_blocks], and their size."""
    block = tuple(int(side) for side in mask.BLOCK_SIZE)
    parts = [(_array(mask.kv_num_blocks), _array(mask.kv_indices))]
    if getattr(mask, "full_kv_num_blocks", None) is not None:
        parts.append((_array(mask.full_kv_num_blocks), _array(mask.full_kv_indices)))
    batch, heads, q_blocks = parts[0][0].shape
    if batch != 1:
        raise ValueError(f"mask {name} is of a batch of {batch}: write one mask for each problem")
    lengths = getattr(mask, "seq_lengths", None)
    k_blocks = -(-int(lengths[1]) // block[1]) if lengths is not None else parts[0][1].shape[-1]
    kept = np.zeros((heads, q_blocks, k_blocks), bool)
    for count, indices in parts:
        listed = np.arange(indices.shape[-1]) < count[0, ..., None]  # the rest of a row is filling
        head, row, _ = np.nonzero(listed)
        if ((indices[0][listed] >= k_blocks) | (indices[0][listed] < 0)).any():
            raise ValueError(f"mask {name} lists key blocks that it does not have: they are 0 to {k_blocks - 1}")
        kept[head, row, indices[0][listed]] = True
    return kept, block


def _pack(kept: np.ndarray) -> np.ndarray:
    """uint32 [heads, q_blocks, words]: bit b of word w is key block 32 w + b."""
    padded = np.zeros((*kept.shape[:2], -(-kept.shape[2] // 32) * 32), bool)
    padded[..., : kept.shape[2]] = kept
    return np.packbits(padded, axis=-1, bitorder="little").view("<u4")
