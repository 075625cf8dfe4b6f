"""The masks of the methods whose rule is simple, by definition, in NumPy: what a mask does that its rule does not.

Where tiles are ranked, the check is that no tile left out is heavier than one that was kept, but for near-ties: weights
closer to each other than float32 tells apart (see numpy_attention.py).
"""

import math

import numpy as np

from numpy_attention import SINGLE, tile_maxima, tile_sums

TINY = 1e-30  # float32 weights below are as good as none: their exponential underflows


class Tiles:
    """One mask beside the visible tiles of its problem."""

    def __init__(self, attention, mask):
        self.attention, self.mask = attention, mask
        self.visible = attention.tile_visible(mask.block_q, mask.block_k)
        self.row_tiles = tile_sums(attention.visible[None], 1, mask.block_k)[0] > 0
        self.rows = np.diff(np.append(np.arange(0, attention.q_len, mask.block_q), attention.q_len))

    def rows_see(self, block):
        """Of which key blocks the rows of a query block see a key: bool [rows, k_blocks]."""
        return self.row_tiles[block * self.mask.block_q:][:self.mask.block_q]

    def extras(self, head, block, own, weight, bound):
        """Tiles that may be kept beside a rule's own ones so that no row is empty: for a row that sees none of its own,
        the heaviest that it sees. Without a sliding window, later rows see what the first one does."""
        rows = self.rows_see(block)[:None if self.attention.window else 1]
        w, b = weight[head, block], bound[head, block]
        allowed = np.zeros(len(w), bool)
        for seen in rows[~rows[:, own].any(1)]:
            allowed |= seen & (w + b >= (w - b)[seen].max())
        return allowed

    def diagonal(self, block):
        """The key blocks that hold the own tokens of a query block."""
        rows = self.attention.position[block * self.mask.block_q:][:self.mask.block_q]
        return set(range(rows[0] // self.mask.block_k, rows[-1] // self.mask.block_k + 1))

    def forced(self, block, sink, local):
        """Blocks that a budget pays first: leading ones, and the latest up to the diagonal's end with all of it."""
        seen, diagonal = set(np.flatnonzero(self.visible[block]).tolist()), self.diagonal(block)
        latest = diagonal | set(range(max(diagonal) + 1 - local, max(diagonal) + 1)) if local else set()
        return seen & (set(range(sink)) | latest)

    def mass(self):
        """True mass of tiles, a mean over rows, and how far float32 may be from it: [heads, q_blocks, k_blocks]."""
        a, m = self.attention, self.mask
        mass = tile_sums(a.probability, m.block_q, m.block_k) / self.rows[None, :, None]
        return mass, mass * self._block_growth() + TINY

    def peak(self):
        a, m = self.attention, self.mask
        peak = tile_maxima(a.probability, m.block_q, m.block_k)
        return peak, peak * self._block_growth() + TINY

    def pooled_logits(self, pool):
        """Logits of pooled queries and keys with their bounds: [heads, q_blocks, k_blocks]."""
        a, m = self.attention, self.mask
        q, k = _pooled(a.q, m.block_q, pool), _pooled(a.k, m.block_k, pool)
        q_size, k_size = _pooled(np.abs(a.q), m.block_q, pool), _pooled(np.abs(a.k), m.block_k, pool)
        slack = SINGLE * (4 * math.sqrt(a.dim) + 4 * math.sqrt(max(m.block_q, m.block_k)) + 16)
        return a.scale * q @ k.swapaxes(1, 2), slack * a.scale * q_size @ k_size.swapaxes(1, 2) + TINY

    def _block_growth(self):
        growth = self.attention.growth(SINGLE, self.attention.kv_len)
        return np.maximum.reduceat(growth, np.arange(0, self.attention.q_len, self.mask.block_q), axis=1)[..., None]


def _pooled(x, block, pool):
    starts = np.arange(0, x.shape[1], block)
    if pool == "max":
        return np.maximum.reduceat(x, starts, axis=1)
    counts = np.diff(np.append(starts, x.shape[1]))
    return np.add.reduceat(x, starts, axis=1) / counts[None, :, None]


def budget_tiles(share, tiles):
    """ceil(share * tiles), at least 1; a share of 0.1 of 30 tiles is 3, which binary fractions put a hair above."""
    return max(1, math.ceil(share * tiles - 1e-9))


def ranking_faults(kept, left_out, weight, bound, where):
    """Tiles left out that are heavier than kept ones. kept and left_out index weight and bound."""
    if not len(kept) or not len(left_out):
        return []
    least, most = (weight[kept] + bound[kept]).min(), (weight[left_out] - bound[left_out]).max()
    return [] if least >= most else [f"{where}: keeps a tile of at most {least:.9g}, leaves one of {most:.9g} out"]


def count_fault(kept, wanted, where):
    return [] if kept == wanted else [f"{where}: keeps {kept} tiles, not {wanted}"]


def best_of_rows(tiles, weight, bound, share, sink, local):
    """The rule of top-k methods: each query block keeps its forced blocks, then the heaviest up to its budget."""
    faults = []
    for head, block in np.ndindex(tiles.mask.tiles.shape[:2]):
        where = f"head {head} query block {block}"
        seen = np.flatnonzero(tiles.visible[block])
        forced = tiles.forced(block, sink, local)
        kept = np.flatnonzero(tiles.mask.tiles[head, block])
        if not forced <= set(kept):
            faults.append(f"{where}: without its forced blocks {sorted(forced - set(kept))}")
        faults += count_fault(len(kept), max(len(forced), budget_tiles(share, len(seen))), where)
        if weight is not None:
            faults += ranking_faults(np.setdiff1d(kept, list(forced)), np.setdiff1d(seen, kept), weight[head, block],
                                     bound[head, block], where)
    return faults


def dense(tiles, params):
    missing = int((tiles.visible[None] & ~tiles.mask.tiles).sum())
    return [f"{missing} visible tiles left out"] if missing else []


def window(sink, local, dense_rows=None):
    """The rule of sink and local window; the names are those of the parameters."""
    def check(tiles, params):
        a = tiles.attention
        key, position = np.arange(a.kv_len)[None, :], a.position[:, None]
        inside = (key < int(params[sink])) | (position - key < int(params[local]))
        if dense_rows:
            inside[max(0, a.q_len - int(params[dense_rows])):] = True
        kept = a.kept_pairs(tiles.mask)
        different = int((kept != (inside & a.visible)[None]).sum())
        empty = int((tiles.mask.tiles & (tile_sums(kept, tiles.mask.block_q, tiles.mask.block_k) == 0)).sum())
        return [f"{different} pairs differ from the window's"] * bool(different) + \
            [f"keeps {empty} tiles in which the window sees nothing"] * bool(empty)
    return check


def block_topk(tiles, params):
    logits, bound = tiles.pooled_logits(params["pool"])
    share, sink, local = float(params["budget"]), int(params["sink"]), int(params["local"])
    if params["scope"] == "row":
        return best_of_rows(tiles, logits, bound, share, sink, local)
    seen = np.where(tiles.visible, logits, -np.inf)
    weight = np.exp(seen - seen.max(-1, keepdims=True))
    weight /= weight.sum(-1, keepdims=True)
    row_bound = np.where(tiles.visible, bound, 0).max(-1, keepdims=True)
    bound = weight * np.expm1(np.minimum(2 * row_bound + 1e-6, 50)) + TINY
    faults, rows = [], range(tiles.visible.shape[0])
    forced = np.zeros(tiles.visible.shape, bool)
    for block in rows:
        forced[block, list(tiles.forced(block, sink, local))] = True
    for head, kept in enumerate(tiles.mask.tiles):
        where = f"head {head}"
        faults += [f"{where}: without forced blocks"] * bool((forced & ~kept).any())
        faults += count_fault(int(kept.sum()), max(int(forced.sum()), budget_tiles(share, int(tiles.visible.sum()))),
                              where)
        faults += ranking_faults(np.flatnonzero(kept & ~forced), np.flatnonzero(tiles.visible & ~kept),
                                 weight[head].ravel(), bound[head].ravel(), where)
    return faults


def oracle_topk(tiles, params):
    return best_of_rows(tiles, *tiles.mass(), float(params["budget"]), int(params["sink"]), int(params["local"]))


def random(tiles, params):
    return best_of_rows(tiles, None, None, float(params["density"]), 0, 1)


def topp_faults(kept, seen, weight, bound, share, where):
    total, slack = weight[kept].sum(), bound[kept].sum() + 1e-6
    faults = ranking_faults(kept, np.setdiff1d(seen, kept), weight, bound, where)
    if total + slack < share and len(kept) < len(seen):
        faults.append(f"{where}: keeps {total:.9g} of {share}")
    if len(kept) and total - weight[kept].min() - slack >= share:
        faults.append(f"{where}: keeps {total:.9g} of {share}, a tile of {weight[kept].min():.3g} too many")
    return faults


def oracle_topp(tiles, params):
    share = float(params["top_p"])
    if share >= 1:
        return dense(tiles, params)
    weight, bound = tiles.mass()

    def check(kept, seen, head, block, where):
        return topp_faults(kept, seen, weight[head, block], bound[head, block], share, where)
    return any_guess(tiles, weight, bound, check)


def oracle_threshold(tiles, params):
    threshold = float(params["threshold"])
    weight, bound = tiles.peak() if params["by"] == "max" else tiles.mass()

    def check(kept, seen, head, block, where):
        w, b = weight[head, block], bound[head, block]
        out = np.setdiff1d(seen, kept)
        light, heavy = kept[w[kept] + b[kept] < threshold], out[w[out] - b[out] >= threshold]
        return [f"{where}: keeps {list(light)} below the threshold"] * bool(len(light)) + \
            [f"{where}: leaves {list(heavy)} above it out"] * bool(len(heavy))
    return any_guess(tiles, weight, bound, check)


def any_guess(tiles, weight, bound, check):
    """What check() says of the query blocks where it takes no set of heaviest tiles, with the extras that the set needs,
    for the rule's own."""
    faults = []
    for head, block in np.ndindex(tiles.mask.tiles.shape[:2]):
        seen = np.flatnonzero(tiles.visible[block])
        kept = np.flatnonzero(tiles.mask.tiles[head, block])
        kept = kept[np.argsort(-weight[head, block, kept], kind="stable")]
        where = f"head {head} query block {block}"
        said = []
        for count in range(len(kept), -1, -1):
            own, extra = kept[:count], kept[count:]
            if len(extra) == 0 or tiles.extras(head, block, own, weight, bound)[extra].all():
                said.append(check(own, seen, head, block, where))
            if said[-1] == []:
                break
        faults += [] if [] in said else said[0]
        if not tiles.rows_see(block)[:, kept].any(1).all():
            faults.append(f"{where}: a row keeps nothing")
    return faults


def oracle_global(tiles, params):
    mass, mass_bound = tiles.mass()
    value = np.ones((mass.shape[0], 1, mass.shape[2]))
    if params["by"] == "value":
        value = np.linalg.norm(_pooled(tiles.attention.v, tiles.mask.block_k, "mean"), axis=-1)[:, None, :]
    weight = mass * tiles.rows[None, :, None] * value
    bound = (mass_bound + 1e-5 * mass) * tiles.rows[None, :, None] * value
    faults, own = [], np.zeros(0, int)
    for head, kept in enumerate(tiles.mask.tiles):
        paid = np.stack([tiles.extras(head, block, own, mass, mass_bound) for block in range(len(kept))]) & kept
        for block in range(len(kept)):
            if not tiles.rows_see(block)[:, kept[block]].any(1).all():
                faults.append(f"head {head} query block {block}: a row keeps nothing")
        wanted = math.ceil(float(params["budget"]) * int(tiles.visible.sum()) - 1e-9)
        if kept.sum() < wanted or (kept.sum() > wanted and (kept & ~paid).any()):
            faults += count_fault(int(kept.sum()), wanted, f"head {head}")
        faults += ranking_faults(np.flatnonzero(kept & ~paid), np.flatnonzero(tiles.visible & ~kept),
                                 weight[head].ravel(), bound[head].ravel(), f"head {head}")
    return faults


RULES = {"dense": dense, "streaming": window("sink", "local"), "a_shape": window("n_init", "n_local"),
         "tri_shape": window("n_init", "n_local", "n_last"), "block_topk": block_topk, "random": random,
         "oracle_topk": oracle_topk, "oracle_topp": oracle_topp, "oracle_threshold": oracle_threshold,
         "oracle_global": oracle_global}


def mask_faults(attention, mask, method, params):
    """What is wrong with a mask, as sentences: pairs that nobody sees, and where its rule is known, breaches of it."""
    tiles = Tiles(attention, mask)
    faults = []
    if mask.spare_bits:
        faults.append(f"{mask.spare_bits} bits beyond the last key block")
    invisible = int((mask.tiles & ~tiles.visible[None]).sum())
    if invisible:
        faults.append(f"keeps {invisible} tiles that no row sees")
    return faults + (RULES[method](tiles, params) if method in RULES else [])
