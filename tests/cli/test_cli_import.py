"""salebench import: NumPy's and Hugging Face's files become captures that run."""

import json
import resource
import shutil
import subprocess

import numpy as np
import pytest

from cli_helpers import HANG, PROGRAM, TEST_PROGRAM, cases, no_core_files, read_capture, save_npys, tensors

pytestmark = pytest.mark.filterwarnings("error")


def as_bfloat16(x):
    """As ml_dtypes saves bfloat16: two bytes of no type that NumPy knows."""
    return (x.astype(np.float32).view(np.uint32) >> 16).astype("<u2").view("V2")


def save_safetensors(path, arrays):
    kinds = {"e": "F16", "f": "F32", "d": "F64", "V": "BF16", "l": "I64"}
    header, data = {}, b""
    for name, x in arrays.items():
        header[name] = {"dtype": kinds[x.dtype.char], "shape": x.shape, "data_offsets": [len(data), len(data) + x.nbytes]}
        data += x.tobytes()
    text = json.dumps({"__metadata__": {"format": "np"}, **header}).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def save_all(box, arrays):
    """The files of each way to save: {way: inputs}."""
    np.savez(box.path("stored.npz"), **arrays)
    np.savez_compressed(box.path("packed.npz"), **arrays)
    save_safetensors(box.path("all.safetensors"), arrays)
    singles = [f"{name}.safetensors" for name in arrays]
    for name, single in zip(arrays, singles):
        save_safetensors(box.path(single), {name: arrays[name]})
    return {"npy": save_npys(box, arrays), "stored": ["stored.npz"], "packed": ["packed.npz"],
            "safetensors": ["all.safetensors"], "singles": singles}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_format_gives_the_same_capture_and_fingerprint(box, dtype):
    arrays = tensors(dtype)
    captures = []
    for way, inputs in save_all(box, arrays).items():
        captures.append(f"{way}.h5")
        said = box.run("import", *inputs, "-o", captures[-1], "--id", "p").stdout
        assert said == f"{way}.h5: p, q [2, 192, 32], k and v [1, 192, 32], float16\n"
        _, stored, attributes, stored_dtype = read_capture(box.path(captures[-1]))
        assert stored_dtype == "float16" and attributes["scale"] == 1 / np.sqrt(32) and attributes["causal"] == 1
        for name, x in arrays.items():
            np.testing.assert_array_equal(stored[name], x.astype(np.float16))
    # One sweep each: within one, problems with the same values are one cell.
    sweeps = [box.sweep(box.config({"dense": {}}, [{"path": path}]), "--quick", out=f"{path}.run") for path in captures]
    assert len({row["fingerprint"] for rows in sweeps for row in rows}) == 1


def test_bfloat16_is_stored_as_it_is(box):
    arrays = {name: as_bfloat16(x * 2.0**40) for name, x in tensors(np.float64).items()}
    for way, inputs in save_all(box, arrays).items():
        box.run("import", *inputs, "-o", f"{way}.h5")
        _, stored, _, dtype = read_capture(box.path(f"{way}.h5"))
        assert dtype == "bfloat16"
        for name, x in arrays.items():
            np.testing.assert_array_equal(stored[name], x.view("<u2"))
    box.fails(5, "import", "stored.npz", "-o", "half.h5", "--dtype", "float16",
              says=["tensor q holds", "out of the range of float16", "--dtype bfloat16"])


def test_float32_is_rounded_to_nearest_even(box):
    rng = np.random.default_rng(5)  # small ones are subnormal as float16
    arrays = {name: rng.standard_normal(x.shape, np.float32) * np.float32(1e-4) for name, x in tensors().items()}
    np.savez(box.path("a.npz"), **arrays)
    box.run("import", "a.npz", "-o", "a.h5")
    for name, x in read_capture(box.path("a.h5"))[1].items():
        np.testing.assert_array_equal(x, arrays[name].astype(np.float16))


@pytest.mark.parametrize("layout,axes", cases({"lhd": ("lhd", (1, 0, 2)), "bhld": ("bhld", None),
                                               "blhd": ("blhd", (1, 0, 2))}))
def test_layouts(box, layout, axes):
    arrays = tensors()
    laid = {name: x.transpose(axes) if axes else x for name, x in arrays.items()}
    batches = 3 if layout[0] == "b" else 1
    for batch in range(batches):
        saved = laid
        if layout[0] == "b":
            saved = {name: np.stack([x if i == batch else np.full_like(x, np.nan) for i in range(3)])
                     for name, x in laid.items()}
        np.savez_compressed(box.path("a.npz"), **{name: np.ascontiguousarray(x) for name, x in saved.items()})
        box.run("import", "a.npz", "-o", "a.h5", "--force", "--layout", layout, *(["--batch", batch] if batch else []))
        for name, x in read_capture(box.path("a.h5"))[1].items():
            np.testing.assert_array_equal(x, arrays[name])


def test_options_are_kept_and_keys_name_tensors(box):
    arrays = tensors()
    save_safetensors(box.path("layer7.safetensors"), {f"model.7.{name}": x for name, x in arrays.items()})
    box.run("import", "layer7.safetensors", "-o", "a.h5", "--keys", "q=model.7.q,k=model.7.k,v=model.7.v", "--layer", 7,
            "--scale", 0.125, "--non-causal", "--model", "tiny", "--source", "a test")
    name, _, attributes, _ = read_capture(box.path("a.h5"))
    assert name == "layer7"
    assert attributes == {"causal": 0, "layer": 7, "model": "tiny", "scale": 0.125, "source": "a test"}
    assert "layer7" in box.run("list", "datasets", "a.h5").stdout
    box.fails(5, "import", "layer7.safetensors", "-o", "b.h5", says=["no tensor 'q' or 'query'", "model.7.k"])
    box.fails(5, "import", "layer7.safetensors", "-o", "b.h5", "--keys", "q=model.7.k,k=modl.7.k",
              says=["did you mean 'model.7.k'?"])


def test_existing_output_is_kept_without_force(box):
    np.savez(box.path("a.npz"), **tensors())
    box.path("a.h5").write_text("mine")
    box.fails(2, "import", "a.npz", "-o", "a.h5", says=["a.h5 exists", "--force"])
    assert box.path("a.h5").read_text() == "mine"
    np.savez(box.path("bad.npz"), **(tensors() | {"v": np.full((1, 192, 32), np.inf, np.float16)}))
    box.fails(5, "import", "bad.npz", "-o", "a.h5", "--force", says=["tensor v holds inf at head 0, token 0, channel 0"])
    assert box.path("a.h5").read_text() == "mine"
    box.run("import", "a.npz", "-o", "a.h5", "--force")
    assert read_capture(box.path("a.h5"))[0] == "a"


WRONG = {  # exit code, arguments, what the line says
    "two files": (5, ["q.npy", "k.npy"], ["has no v"]),
    "one npy": (2, ["q.npy"], ["holds one tensor"]),
    "unknown kind": (2, ["q.pt", "k.pt", "v.pt"], ["only .npy, .npz and .safetensors"]),
    "batch without b": (2, ["a.npz", "--batch", "1"], ["batch 1"]),
    "bad keys": (2, ["a.npz", "--keys", "q:x"], ["--keys", "q=NAME"]),
    "bad id": (2, ["a.npz", "--id", "a/b"], ["id of a problem"]),
    "missing": (5, ["none.npz"], ["cannot open none.npz: No such file"]),
    "folder": (5, ["folder.npz"], ["no .npy, .npz or .safetensors files in there"]),
    "no batch": (5, ["a.npz", "--layout", "bhld"], ["q is [2, 192, 32]", "--layout hld or lhd"]),
    "wrong layout": (5, ["a.npz", "--layout", "lhd"], ["192 heads", "is the layout lhd?"]),
    "fortran order": (5, ["fortran.npy", "k.npy", "v.npy"], ["Fortran order", "np.ascontiguousarray"]),
    "big-endian": (5, ["big.npy", "k.npy", "v.npy"], ["big-endian"]),
    "integers": (5, ["integers.npy", "k.npy", "v.npy"], ["of type <i8"]),
    "integers of safetensors": (5, ["integers.safetensors"], ["of type I64"]),
    "truncated npy": (5, ["q.npy", "k.npy", "cut.npy"], ["cut.npy is truncated"]),
    "truncated npz": (5, ["cut.npz"], ["cut.npz is not a .npz, or truncated"]),
    "truncated safetensors": (5, ["cut.safetensors"], ["cut.safetensors is truncated"]),
    "flipped byte": (5, ["flipped.npz"], ["flipped.npz, array 'k' is damaged"]),
    "no folder to write to": (6, ["a.npz", "-o", "nowhere/a.h5"], ["cannot write nowhere/a.h5"]),
}


@pytest.mark.parametrize("code,arguments,says", cases(WRONG))
def test_what_is_wrong_is_said_in_a_line(box, code, arguments, says):
    arrays = tensors()
    save_all(box, arrays)
    shutil.copy(box.path("stored.npz"), box.path("a.npz"))
    box.path("folder.npz").mkdir()
    np.save(box.path("fortran.npy"), np.asfortranarray(arrays["q"]))
    np.save(box.path("big.npy"), arrays["q"].astype(">f2"))
    np.save(box.path("integers.npy"), arrays["q"].astype(np.int64))
    save_safetensors(box.path("integers.safetensors"), arrays | {"k": arrays["k"].astype(np.int64)})
    for name, of in {"cut.npy": "v.npy", "cut.npz": "a.npz", "cut.safetensors": "all.safetensors"}.items():
        box.path(name).write_bytes(box.path(of).read_bytes()[:-100])
    flipped = bytearray(box.path("a.npz").read_bytes())
    flipped[flipped.index(arrays["k"].tobytes()) + 99] ^= 1
    box.path("flipped.npz").write_bytes(flipped)
    out = [] if "-o" in arguments else ["-o", "new.h5"]
    box.fails(code, "import", *arguments, *out, says=says)
    assert not list(box.folder.glob("new.h5*")) and not box.path("nowhere").exists()


def test_full_disk(box):
    """A limit on the size of files, which a full disk resembles; larger than HDF5's own buffers."""
    np.savez(box.path("a.npz"), **tensors(length=8192))
    def limit():
        no_core_files()
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    # Python ignores SIGXFSZ, and so does what it starts if signals are left as they are.
    process = subprocess.run([PROGRAM, "import", "a.npz", "-o", "new.h5"], cwd=box.folder, text=True,
                             capture_output=True, timeout=HANG, preexec_fn=limit, restore_signals=False)
    assert process.returncode == 6, process
    assert process.stderr == "salebench: error: cannot write new.h5: is the disk full?\n"
    assert not list(box.folder.glob("new.h5*"))


def test_options_of_the_parser(box):
    np.savez(box.path("a.npz"), **tensors())
    for arguments in (["--layout", "hdl"], ["--dtype", "int8"], ["--scale", "-1"], ["--scale", "nan"], ["--batch", "-1"],
                      ["--layer", "x"], ["--colour"], []):
        box.run("import", "a.npz", *arguments, *(["-o", "new.h5"] if arguments else []), code=2)
    assert not box.path("new.h5").exists()
    assert "--non-causal" in box.run("import", "--help", program=TEST_PROGRAM).stdout
