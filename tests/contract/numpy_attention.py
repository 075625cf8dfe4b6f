"""Attention, masks and their figures by definition, in NumPy's float64, and how far float32 may be from them.

Independent of the program: it reads the tensors that were written to a capture and the bits of a saved mask, no more.

Bounds. A float32 sum of n products is off by some sqrt(n) units in the last place of the largest partial sum, seldom
more than 4 sqrt(n) of them (Higham and Mary 2019); no partial sum of a logit exceeds reach = scale * sum |q_d| |k_d|.
So a logit is off by up to slack = UNIT * (4 sqrt(head_dim) + 16) * reach, where 16 is for the scaling, the conversion
to base 2 and the argument of the exponential. Weights are then off by a factor of up to exp(2 slack), once for the
logit and once for the maximum or sum that it is taken against, and a weighted mean of v by that share of the mean of
|v|. Recall is in double precision in the program as it is here, so both err by the same formula with DOUBLE.
"""

from dataclasses import dataclass

import numpy as np

SINGLE, DOUBLE = 2.0**-24, 2.0**-53


@dataclass
class Mask:
    """A mask as run.h5 holds it; tiles is bool [heads, q_blocks, k_blocks]. The window is the method's, or None."""

    tiles: np.ndarray
    spare_bits: int  # set bits beyond the last key block
    block_q: int
    block_k: int
    window: tuple | None  # sink, local, dense rows

    @staticmethod
    def read(group):
        bits, attributes = group["bits"][()], group["bits"].attrs
        unpacked = np.unpackbits(bits.view(np.uint8), axis=-1, bitorder="little").astype(bool)
        k_blocks = int(attributes["k_blocks"])
        names = ("window_sink", "window_local", "window_dense_rows")
        window = tuple(int(attributes[name]) for name in names) if names[0] in attributes else None
        return Mask(unpacked[..., :k_blocks], int(unpacked[..., k_blocks:].sum()), int(attributes["block_q"]),
                    int(attributes["block_k"]), window)


class Attention:
    """Exact attention of a problem as it is measured: without the leading keys that no row sees.

    problem: q [q_heads, q_len, dim], k and v [kv_heads, kv_len, dim] as stored, scale, causal, window, first_key.
    Arrays have the query heads first; a row is a query.
    """

    def __init__(self, problem):
        first = problem["first_key"]
        q, k, v = (np.asarray(problem[name], np.float64) for name in "qkv")
        k, v = k[:, first:], v[:, first:]
        q = q[:, max(0, q.shape[1] - k.shape[1]):]
        hidden = max(0, k.shape[1] - q.shape[1] - problem["window"] + 1) if problem["window"] else 0
        k, v = k[:, hidden:], v[:, hidden:]
        group = q.shape[0] // k.shape[0]
        self.q, self.k, self.v = q, np.repeat(k, group, axis=0), np.repeat(v, group, axis=0)
        self.heads, self.q_len, self.dim = q.shape
        self.kv_len, self.scale, self.causal = k.shape[1], float(np.float32(problem["scale"])), problem["causal"]
        self.position = np.arange(self.kv_len - self.q_len, self.kv_len)
        self.window = problem["window"]
        self.visible = self._visible(self.window)
        self.logits = self.scale * self.q @ self.k.swapaxes(1, 2)
        seen = np.where(self.visible, self.logits, -np.inf)
        most = seen.max(-1, keepdims=True)
        weights = np.exp(seen - most)
        total = weights.sum(-1, keepdims=True)
        self.lse = (most + np.log(total))[..., 0]
        self.probability = weights / total
        self.output = self.probability @ self.v
        sizes = self.scale * np.abs(self.q) @ np.abs(self.k).swapaxes(1, 2)
        self.reach = np.where(self.visible, sizes, 0).max(-1)  # [heads, q_len]

    def _visible(self, window):
        key, position = np.arange(self.kv_len)[None, :], self.position[:, None]
        seen = key <= position if self.causal else np.ones((self.q_len, self.kv_len), bool)
        return seen & (key > position - window) if window else seen

    def slack(self, unit):
        """How far a logit may be off in an arithmetic: [heads, q_len]."""
        return unit * (4 * np.sqrt(self.dim) + 16) * self.reach

    def growth(self, unit, terms):
        """By which share a weighted mean of so many terms may be off: [heads, q_len]."""
        return np.expm1(np.minimum(2 * self.slack(unit) + unit * (4 * np.sqrt(terms) + 64), 50))

    def tile_visible(self, block_q, block_k):
        """Which tiles hold a visible pair: bool [q_blocks, k_blocks]."""
        return tile_sums(self.visible[None], block_q, block_k)[0] > 0

    def kept_pairs(self, mask):
        """Which pairs a mask keeps: bool [heads, q_len, kv_len]."""
        rows = np.repeat(mask.tiles, mask.block_q, axis=1)[:, :self.q_len]
        kept = np.repeat(rows, mask.block_k, axis=2)[:, :, :self.kv_len] & self.visible
        if mask.window is None:
            return kept
        sink, local, dense_rows = mask.window
        key, position = np.arange(self.kv_len)[None, :], self.position[:, None]
        inside = (key < sink) | (position - key < local)
        inside[self.q_len - min(dense_rows, self.q_len):] = True
        return kept & inside

    def masked(self, kept):
        """Attention over the kept pairs alone: output, and the mean of |v| with the same weights."""
        seen = np.where(kept, self.logits, -np.inf)
        most = seen.max(-1, keepdims=True)
        weights = np.exp(seen - np.where(np.isinf(most), 0, most))
        weights /= np.maximum(weights.sum(-1, keepdims=True), np.finfo(float).tiny)
        return weights @ self.v, weights @ np.abs(self.v)


def tile_sums(values, block_q, block_k):
    """Sums of values [heads, q_len, kv_len] over tiles."""
    rows = np.add.reduceat(values, np.arange(0, values.shape[1], block_q), axis=1, dtype=np.float64)
    return np.add.reduceat(rows, np.arange(0, values.shape[2], block_k), axis=2)


def tile_maxima(values, block_q, block_k):
    """Maxima of values [heads, q_len, kv_len] over tiles."""
    rows = np.maximum.reduceat(values, np.arange(0, values.shape[1], block_q), axis=1)
    return np.maximum.reduceat(rows, np.arange(0, values.shape[2], block_k), axis=2)


def figures(attention, mask, extra_pairs=0):
    """The figures of exact attention over a mask: {name: (value, bound)} for each head and, last, for all of them."""
    kept = attention.kept_pairs(mask)
    recall = np.where(kept, attention.probability, 0).sum(-1)
    recall_bound = attention.growth(DOUBLE, attention.kv_len) + 1e-12  # so that a unit of an exponential is no fault
    output, size = attention.masked(kept)
    error = output - attention.output
    error_bound = (attention.growth(SINGLE, attention.kv_len)[..., None] * size
                   + 4 * SINGLE * np.abs(attention.output))
    tiles, visible_tiles = mask.tiles.sum((1, 2)), attention.tile_visible(mask.block_q, mask.block_k).sum()
    pairs = kept.sum((1, 2)) + extra_pairs

    def of(heads):
        count = len(heads)
        norm = np.sqrt((attention.output[heads] ** 2).sum())
        bound = error_bound[heads]
        return {
            "density": (pairs[heads].sum() / (count * attention.visible.sum()), 1e-12),
            "tile_density": (tiles[heads].sum() / (count * visible_tiles), 1e-12),
            "recall_mean": (recall[heads].mean(), recall_bound[heads].mean()),
            "recall_p05": (np.quantile(recall[heads], 0.05), recall_bound[heads].max()),
            "recall_min": (recall[heads].min(), recall_bound[heads].max()),
            "rel_l2": (np.sqrt((error[heads] ** 2).sum()) / norm, np.sqrt((bound**2).sum()) / norm),
            "gain": ((output[heads] * attention.output[heads]).sum() / norm**2, np.sqrt((bound**2).sum()) / norm),
            "max_abs": (np.abs(error[heads]).max(), bound.max()),
            "l1_per_token": (np.abs(error[heads]).sum() / (count * attention.q_len),
                             bound.sum() / (count * attention.q_len)),
        }

    return [of([head]) for head in range(attention.heads)] + [of(list(range(attention.heads)))]
