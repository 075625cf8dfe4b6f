"""Every family of AutoModelForCausalLM: is the attention of its captured tensors the model's own?

Builds a tiny random model of each from its configuration, captures two prompts (one within the sliding windows, one
beyond) and compares, layer by layer, attention of the captured q, k, v, scale, causal and window in float64 NumPy with
what the model's `eager` attention gives, and the last hidden states under both. Run by hand, some minutes:

    .venv-capture/bin/python tests/capture/families.py [FAMILY ...]

Another version of transformers: pip install --no-deps --target DIR transformers==VERSION, then PYTHONPATH=DIR. gemma3n
also needs timm, pillow and torchvision.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import inspect
import multiprocessing
import os
import pathlib
import sys
import traceback

os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "datasets"))

import numpy as np
import prefill
import torch
import transformers
from family_sizes import FAMILIES, HEADS, PROMPTS, SIZES, VARIANTS
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

TOLERANCE = 1e-5  # relative L2 in float32; rounding gives 2e-6 at most
LARGEST = 400_000_000  # parameters of a model that is worth building
OUTCOMES = ("equal", "refused", "differs", "internal error", "not built")


class NotBuilt(Exception):
    """The model cannot be built, or does not run under its own attention."""


def tiny_config(config_class, changes: dict):
    """A configuration with small sizes wherever its class has a parameter of that name, in its parts too."""
    names = inspect.signature(config_class.__init__).parameters
    arguments = {name: value for name, value in SIZES.items() if name in names}
    if "kv_lora_rank" in names:
        arguments["num_key_value_heads"] = HEADS  # each head has keys of its own, made of a shared latent
    arguments |= changes
    for part, spec in config_class.sub_configs_defaults.items():
        if part in names and not spec.optional:
            automatic = spec.config_class is transformers.AutoConfig
            part_class = transformers.CONFIG_MAPPING[spec.model_type] if automatic else spec.config_class
            arguments[part] = tiny_config(part_class, changes.get(part, {}))
    return config_class(**arguments)


def build(name: str) -> transformers.PreTrainedModel:
    """The tiny model of a family or of a variant of it."""
    family, changes = VARIANTS.get(name, (name, {}))
    model_class = getattr(transformers, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[family])
    config_class = transformers.CONFIG_MAPPING[family]
    if model_class.config_class in config_class.sub_configs.values():
        config_class = model_class.config_class
    config = tiny_config(config_class, FAMILIES.get(family, {}) | changes)
    with torch.device("meta"):
        size = sum(parameter.numel() for parameter in model_class(config).parameters())
    if size > LARGEST:
        raise NotBuilt(f"{size / 1e6:.0f} million parameters")
    torch.manual_seed(3)
    model = model_class(config).float().eval()
    with torch.no_grad():  # so that softmax is far from uniform
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                embedding = "embed" in name or name.split(".")[-2] in ("wte", "wpe")
                parameter.normal_(0, 0.5 if embedding else parameter.shape[-1] ** -0.5)
            elif parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))  # biases, and gates that start at 0
    return model


def hidden_states(model, ids) -> torch.Tensor:
    with torch.inference_mode():
        return model.base_model(input_ids=ids, use_cache=False)[0]


def own_attention(model, ids, name: str) -> tuple[dict[int, list[np.ndarray]], torch.Tensor]:
    """Outputs [heads, len, dim] by layer and call, and the last hidden states, under an implementation of the model."""
    outputs = collections.defaultdict(list)
    interface = transformers.AttentionInterface
    original = interface.get_interface

    def get_interface(self, implementation, default):
        function = original(self, implementation, default)

        def recorded(module, *arguments, **options):
            result = function(module, *arguments, **options)
            if result[0].dim() == 4:
                outputs[getattr(module, "layer_idx", None)].append(result[0][0].transpose(0, 1).double().numpy())
            return result
        return recorded

    interface.get_interface = get_interface
    try:
        model.set_attn_implementation(name)
        return outputs, hidden_states(model, ids)
    finally:
        interface.get_interface = original


def numpy_attention(problem, q, k, v) -> np.ndarray:
    """[group, len, head_dim]"""
    logits = problem.scale * np.einsum("hid,jd->hij", q, k[0])
    i, j = np.ogrid[:q.shape[1], :k.shape[1]]
    if problem.causal:
        logits[:, (j > i) | (j <= i - (problem.window or k.shape[1]))] = -np.inf
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ v[0]


def captured_attention(model, ids) -> tuple[dict[int, np.ndarray], str]:
    """Attention [heads, len, head_dim] of the captured tensors by layer, and what kinds of it there are."""
    heads, kinds = collections.defaultdict(dict), collections.Counter()

    def sink(problem):
        tensors = [getattr(problem, name).double().numpy() for name in "qkv"]
        heads[problem.layer][problem.kv_head] = output = numpy_attention(problem, *tensors)
        other = numpy_attention(dataclasses.replace(problem, scale=2 * problem.scale), *tensors)
        if distance(other, output) < 20 * TOLERANCE:
            raise NotBuilt(f"layer {problem.layer}: its attention is the same at twice the scale")
        kinds[("causal" if problem.causal else "full") + (f" window {problem.window}" if problem.window else "")] += 1

    prefill.capture(model, ids[0].tolist(), sink)
    return {layer: np.concatenate([parts[head] for head in sorted(parts)]) for layer, parts in heads.items()}, \
        ", ".join(sorted(kinds))


def captured_hidden_states(model, ids) -> torch.Tensor:
    """The whole forward pass under the attention that a capture runs with."""
    recorder = prefill._Recorder(None, set(), None, lambda *_: None, None)
    result = []
    hook = model.base_model.register_forward_hook(lambda _, __, output: result.append(output[0]))
    prefill._run(model, ids, recorder)
    hook.remove()
    return result[0]


def distance(got, want) -> float:
    if got.shape != want.shape:
        return float("inf")
    off = float(np.linalg.norm(got - want) / max(float(np.linalg.norm(want)), 1e-30))
    return off if off == off else float("inf")


def compare(model, ids) -> tuple[str, str]:
    """(outcome, what to say of it) of one prompt."""
    try:
        captured, kinds = captured_attention(model, ids)
        last = captured_hidden_states(model, ids)
    except prefill.CaptureError as error:
        return "refused", str(error)
    except NotBuilt as error:
        return "not built", str(error)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return "internal error", f"{type(error).__name__}: {error} ({pathlib.Path(where.filename).name}:{where.lineno})"
    said = []
    for name in ("eager", "sdpa"):
        try:
            own, own_last = own_attention(model, ids, name)
        except Exception as error:
            said.append(f"{name} does not run ({type(error).__name__}: {error})")
            continue
        off = {layer: distance(output, own[layer][0]) if len(own[layer]) == 1 else float("inf")
               for layer, output in captured.items()}
        worst, end = max(off.values()), distance(last.double().numpy(), own_last.double().numpy())
        said.append(f"{name}: layers {worst:.0e}, last hidden states {end:.0e}")
        if worst <= TOLERANCE and end <= TOLERANCE:
            return "equal", f"{len(captured)} layers, {kinds}; {'; '.join(said)}"
    return "differs", "; ".join(said)


def examine(family: str) -> tuple[str, str]:
    """(outcome, what to say of it); the worse outcome of the prompts."""
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    try:
        model = build(family)
        ids = torch.from_numpy(np.random.default_rng(1).integers(5, SIZES["vocab_size"], (1, max(PROMPTS))))
        runs = []
        for name in ("eager", "sdpa"):
            try:
                model.set_attn_implementation(name)
                runs.append(bool(torch.isfinite(hidden_states(model, ids)).all()))
            except Exception as error:
                problem = error
        if not runs:
            raise problem
        if not any(runs):
            raise NotBuilt("its last hidden states are not finite")
    except Exception as error:
        text = " ".join(str(error).split())
        where = traceback.extract_tb(error.__traceback__)[-1]
        return "not built", f"{type(error).__name__}: {text[:300]} ({pathlib.Path(where.filename).name}:{where.lineno})"
    results = {length: compare(model, ids[:, :length]) for length in PROMPTS}
    worst = max((outcome for outcome, _ in results.values()), key=OUTCOMES.index)
    if len(set(results.values())) == 1:
        return next(iter(results.values()))
    return worst, "; ".join(f"{length} tokens: {outcome}, {text}" for length, (outcome, text) in results.items())


def in_child(family: str, seconds: float) -> tuple[str, str]:
    """`examine` in a process of its own, which a crash or a hang ends alone."""
    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe(duplex=False)
    child = context.Process(target=lambda: theirs.send(examine(family)))
    child.start()
    theirs.close()
    try:
        return mine.recv() if mine.poll(seconds) else ("internal error", f"no answer in {seconds:g} s")
    except EOFError:
        child.join()
        return "internal error", f"the process ended with {child.exitcode}"
    finally:
        child.kill()
        child.join()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("families", nargs="*", metavar="FAMILY", help="model types (default: all)")
    parser.add_argument("--seconds", type=float, default=120, help="time limit of a family (default 120)")
    parser.add_argument("--verbose", action="store_true", help="say what was compared in equal families too")
    options = parser.parse_args()
    known = sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    names = options.families or known + list(VARIANTS)
    if unknown := set(names).difference(known, VARIANTS):
        parser.error(f"no such family: {', '.join(sorted(unknown))}")
    counts = {kind: collections.Counter() for kind in ("families", "variants")}
    for number, name in enumerate(names, 1):
        outcome, text = in_child(name, options.seconds)
        counts["variants" if name in VARIANTS else "families"][outcome] += 1
        if outcome != "equal" or options.verbose:
            print(f"{name}: {outcome}: {text}", flush=True)
        if sys.stderr.isatty():
            print(f"\r{number} of {len(names)}", end="\r", file=sys.stderr)
    for kind, found in counts.items():
        print(f"transformers {transformers.__version__}, {found.total()} {kind}: "
              + ", ".join(f"{found[outcome]} {outcome}" for outcome in OUTCOMES))
    return int(any(found["differs"] + found["internal error"] for found in counts.values()))


if __name__ == "__main__":
    sys.exit(main())
