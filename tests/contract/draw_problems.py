"""Random problems and random settings of methods for random_problems.py."""

import math

import numpy as np

HEAD_DIMS = [1, 4, 8, 20, 32, 64, 80, 96, 128, 160, 256]
KINDS = ["spread", "offset", "sink", "few keys", "equal keys"]
DELTA_BASES = ["streaming", "block_topk", "random", "oracle_topk"]  # with a knob that their help lists in full
LONGEST, LONG = 600, 2500  # keys; long problems are few, with one KV head and few channels


def log_uniform(rng, low, high):
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def log_integer(rng, low, high):
    return min(high, int(log_uniform(rng, low, high + 1)))


def draw_length(rng, longest):
    """Short ones, where blocks are cut off, as often as long ones, where there are many."""
    return log_integer(rng, 1, longest) if rng.random() < 0.5 else int(rng.integers(1, longest + 1))


def draw_problem(rng):
    """One problem as a capture holds it: tensors of the values that their type holds, and attributes."""
    kv_heads, group = int(rng.integers(1, 3)), int(rng.choice([1, 1, 2, 3, 4]))
    dim, kv_len = int(rng.choice(HEAD_DIMS)), draw_length(rng, LONGEST)
    if rng.random() < 0.03:
        kv_heads, group, dim, kv_len = 1, 1, min(dim, 32), int(rng.integers(LONGEST, LONG))
    q_len = kv_len if rng.random() < 0.5 else draw_length(rng, kv_len)
    problem = {"causal": bool(rng.random() < 0.85), "window": 0, "first_key": 0,
               "dtype": str(rng.choice(["float16", "bfloat16", "float32"])),
               "scale": 1 / math.sqrt(dim) if rng.random() < 0.7 else log_uniform(rng, 0.01, 1)}
    if problem["causal"] and rng.random() < 0.5:
        problem["window"] = log_integer(rng, 1, kv_len + 20)
    if kv_len > 1 and rng.random() < 0.3:
        problem["first_key"] = int(rng.integers(1, kv_len))
    kind, size = str(rng.choice(KINDS)), log_uniform(rng, 1, 1e4)
    q, k = draw_keys(rng, kind, (kv_heads * group, q_len, dim), (kv_heads, kv_len, dim), size, problem["scale"])
    v = rng.standard_normal((kv_heads, kv_len, dim)) * log_uniform(rng, 0.01, 100)
    problem.update({name: rounded(x, problem["dtype"]) for name, x in {"q": q, "k": k, "v": v}.items()})
    problem["text"] = (f"heads {kv_heads * group}/{kv_heads}, q_len {q_len}, kv_len {kv_len}, head_dim {dim}, "
                       f"{problem['dtype']}, {kind}, logits of {size:.3g}"
                       + "".join(f", {name} {problem[name]}" for name in ("window", "first_key") if problem[name])
                       + (", causal" if problem["causal"] else ""))
    return problem


def draw_keys(rng, kind, q_shape, k_shape, size, scale):
    """Queries and keys whose logits have about the given size.

    spread: by chance. offset: all logits share it, as where keys have a bias, and differ by a few units. sink: the first
    keys and the latest have it. few keys: a handful of keys are repeated, so that tiles tie. equal keys: all tie.
    """
    dim = q_shape[-1]
    unit = 1 / math.sqrt(scale * math.sqrt(dim))  # of q and k where logits have a standard deviation of 1
    q, k = rng.standard_normal(q_shape), rng.standard_normal(k_shape)
    if kind == "spread":
        return q * unit * math.sqrt(size), k * unit * math.sqrt(size)
    q, k = q * unit, k * unit
    along = math.sqrt(size / scale)  # in the first channel of both, it gives this size
    if kind == "offset":
        q[..., 0], k[..., 0] = along, along
    elif kind == "sink":
        q[..., 0] = along
        k[..., 0] = 0
        k[:, : int(rng.integers(1, 9)), 0] = along
        k[:, -int(rng.integers(1, 33)):, 0] = along
    else:
        few = 1 if kind == "equal keys" else int(rng.integers(2, 6))
        k = k[:, rng.integers(0, min(few, k_shape[1]), k_shape[1])] * math.sqrt(size)
    return q, k


def rounded(x, dtype):
    """The nearest values of the type, in a NumPy type that holds them."""
    x = np.clip(x, -6e4, 6e4).astype(np.float32)
    if dtype == "float16":
        return x.astype(np.float16)
    if dtype == "bfloat16":
        bits = x.view(np.uint32)
        return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
    return x


def draw_value(rng, param):
    """A value of a parameter: its default, an end of its range, or any between, small ones as often as large ones."""
    kind, allowed = param["type"], param["allowed"]
    if kind in ("path", "name"):
        return param["default"]
    if kind in ("choice", "bool"):
        return str(rng.choice(allowed.split(", ")))
    low, high = (float(end) for end in allowed.split(" to "))
    way = rng.random()
    if way < 0.3:
        return [param["default"], number(low, kind), number(high, kind)][int(way * 10)]
    if kind == "int":
        return number(low + log_integer(rng, 1, min(high - low, LONGEST) + 1) - 1, kind)
    return number(low + (high - low) * (rng.random() if way < 0.65 else log_uniform(rng, 1e-5, 1)), kind)


def number(value, kind):
    return str(int(value)) if kind == "int" else repr(float(f"{value:.6g}"))


def draw_settings(rng, method, methods):
    """Values of all parameters of a method but those that stand for files.

    method: as `salebench list methods --json` describes it; methods: all of them by name.
    """
    if method["name"] == "delta":
        base = methods[str(rng.choice(DELTA_BASES))]
        knob = next(param for param in base["params"] if "knob" in param)
        values = {param["name"]: draw_value(rng, param) for param in method["params"]}
        return {**values, "base": base["name"], "knob": draw_value(rng, knob)}
    values = {param["name"]: draw_value(rng, param) for param in method["params"]}
    if method["name"] == "dense":
        values["kernel"] = "ours"  # the others are for backend cuda
    if method["name"] == "flexprefill" and int(values["max_budget"]):
        values["max_budget"] = max(values["max_budget"], values["min_budget"], key=int)
    return values
