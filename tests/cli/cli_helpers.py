"""What the tests of the command line share: small captures, configs, and the program run in a folder of its own."""

import json
import os
import resource
import signal
import subprocess
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

PROGRAM = os.environ["SALEBENCH_PROGRAM"]
TEST_PROGRAM = os.environ["SALEBENCH_TEST_PROGRAM"]  # the same with the methods of misbehaving_methods.cpp

HANG = 1800  # seconds after which a test gives up on the program: for a hang, far beyond any slow machine
TIMES = ["select_s", "attend_s", "total_s", "total_lo_s", "total_hi_s", "dense_s", "speedup", "speedup_lo",
         "speedup_hi", "noise"]
ACCURACY = ["density", "tile_density", "recall_mean", "recall_p05", "recall_min", "rel_l2", "rel_l2_worst", "max_abs",
            "l1_per_token", "cos_min", "gain", "flops_executed", "flops_dense"]
STACKS = ["HDF5-DIAG", "terminate called", "what()", "std::", "yaml-cpp", "#000"]


def cases(table):
    """The parameters of a test from {id: values}."""
    return [pytest.param(*values, id=name) for name, values in table.items()]


def problem(*, q_heads=2, kv_heads=1, kv_len=320, q_len=None, dim=32, seed=1, bfloat16=False, **attributes):
    """One problem of a capture; its values are sixteenths, which float16 and bfloat16 both hold exactly."""
    rng = np.random.default_rng(seed)
    shapes = {"q": (q_heads, q_len or kv_len, dim), "k": (kv_heads, kv_len, dim), "v": (kv_heads, kv_len, dim)}
    tensors = {name: rng.integers(-32, 33, shape).astype(np.float32) / 16 for name, shape in shapes.items()}
    if bfloat16:
        tensors = {name: (x.view(np.uint32) >> 16).astype(np.uint16) for name, x in tensors.items()}
    else:
        tensors = {name: x.astype(np.float16) for name, x in tensors.items()}
    return {**tensors, "attributes": {"causal": True, "layer": 3, "model": "tiny", **attributes}}


def write_capture(path, problems):
    with h5py.File(path, "w") as file:
        file.attrs.update(format="salebench.capture", format_version=1)
        for name, parts in problems.items():
            group = file.create_group(f"problems/{name}")
            group.attrs.update(parts["attributes"])
            for tensor in ("q", "k", "v"):
                if tensor not in parts:
                    continue
                dataset = group.create_dataset(tensor, data=parts[tensor])
                if parts[tensor].dtype == np.uint16:
                    dataset.attrs["dtype"] = "bfloat16"
    return Path(path)


def tensors(dtype=np.float16, q_heads=2, kv_heads=1, length=192, dim=32, seed=3):
    """q, k, v of sixteenths, which all types hold exactly."""
    rng = np.random.default_rng(seed)
    shapes = {"q": (q_heads, length, dim), "k": (kv_heads, length, dim), "v": (kv_heads, length, dim)}
    return {name: (rng.integers(-32, 33, shape) / 16).astype(dtype) for name, shape in shapes.items()}


def save_npys(box, arrays):
    """One .npy each, for `salebench import`."""
    for name, x in arrays.items():
        np.save(box.path(f"{name}.npy"), x)
    return [f"{name}.npy" for name in arrays]


def read_capture(path):
    """(id, {q, k, v}, attributes) of a capture with one problem; bfloat16 as its bits."""
    with h5py.File(path) as file:
        assert file.attrs["format"] == "salebench.capture"
        (name, group), = file["problems"].items()
        return name, {tensor: group[tensor][()] for tensor in "qkv"}, dict(group.attrs), group["q"].attrs["dtype"]


def read_table(path, table="cells"):
    """The rows of a table of run.h5 or of a cell's file, as dicts."""
    with h5py.File(path) as file:
        columns = {name: data[()] for name, data in file[table].items()}
    text = {name for name, data in columns.items() if data.dtype == object}
    count = len(next(iter(columns.values())))
    return [{name: data[i].decode() if name in text else data[i].item() for name, data in columns.items()}
            for i in range(count)]


def wait_for(condition, what):
    """Polls until the condition gives something true, which is returned."""
    give_up = time.monotonic() + HANG
    while time.monotonic() < give_up:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"{what} did not happen in {HANG} s")


def process_stat(pid):
    """(state, parent) of a process; None if there is none."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
        return state, int(parent)
    except (FileNotFoundError, ProcessLookupError):
        return None


def is_alive(pid):
    stat = process_stat(pid)
    return stat is not None and stat[0] not in "ZX"


def worker_of(parent):
    """(process id, cell id) of the worker of a running sweep, or None between two workers."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or (process_stat(entry.name) or ("", 0))[1] != parent:
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if len(words) > 3 and words[1] == b"cell":
            return int(entry.name), words[3].decode()
    return None


def lines_of(errors):
    """What is said on stderr, but for what a run says first on a busy machine, as one that runs tests may be."""
    return [line for line in errors.splitlines() if not line.endswith("busy: times will not be usable")]


def no_core_files():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Box:
    """A folder with a capture, a config, a truth cache of its own, and the program run in it."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.cache = self.folder / "cache"
        self.env = {**os.environ, "SALEBENCH_CACHE": str(self.cache)}
        self.env.pop("COLUMNS", None)  # of who runs the tests: tables are whole
        self.started = []

    def capture(self, name="capture.h5", **problems):
        return write_capture(self.folder / name, problems or {"p": problem()})

    def config(self, methods, datasets=None, name="config.yaml", **more):
        """Writes a config with short measurements; JSON is YAML. Without datasets, those of capture.h5."""
        if datasets is None:
            if not (self.folder / "capture.h5").exists():
                self.capture()
            datasets = [{"path": "capture.h5"}]
        config = {"run": "test", "datasets": datasets, "methods": methods, "threads": 1, **more}
        config.setdefault("measure", {"warmup": 0, "min_time": 0, "max_time": 0.02, "min_samples": 2, "cache": "hot"})
        path = self.folder / name
        path.write_text(json.dumps(config, indent=1))
        return path

    def path(self, name):
        return self.folder / name

    def start(self, *arguments, program=PROGRAM):
        """The program in the background; end_all() kills what is left of it."""
        process = subprocess.Popen([program, *map(str, arguments)], cwd=self.folder, env=self.env, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=no_core_files)
        self.started.append(process)
        return process

    def end_all(self):
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.communicate(timeout=HANG)

    def run(self, *arguments, code=0, program=PROGRAM):
        """Runs the program to its end and checks the exit code."""
        process = subprocess.run([program, *map(str, arguments)], cwd=self.folder, env=self.env, text=True,
                                 capture_output=True, timeout=HANG, preexec_fn=no_core_files)
        output = f"{process.args}\nstdout: {process.stdout}\nstderr: {process.stderr}"
        assert process.returncode == code, f"exit code {process.returncode}, not {code}, of {output}"
        assert not [mark for mark in STACKS if mark in process.stderr], output
        return process

    def fails(self, code, *arguments, says=(), program=PROGRAM):
        """Runs the program, which must end with this code and one line on stderr that holds all of `says`."""
        process = self.run(*arguments, code=code, program=program)
        lines = lines_of(process.stderr)
        assert len(lines) == 1 and lines[0].startswith("salebench: error: "), process.stderr
        assert lines[0].count("salebench: error: ") == 1, process.stderr
        assert not [text for text in says if text not in lines[0]], f"{says} in {lines[0]}"
        return lines[0]

    def sweep(self, config, *arguments, out="out", code=0, program=PROGRAM):
        """Runs a config to an output folder; returns the rows of run.h5."""
        self.run("run", config, "-o", out, *arguments, code=code, program=program)
        return self.rows(out)

    def rows(self, out="out", table="cells"):
        return read_table(self.path(out) / "run.h5", table)


def refused(box, *says, **dataset):
    """The capture is refused by a run, which makes no output folder."""
    config = box.config({"dense": {}}, [{"path": "capture.h5", **dataset}])
    box.fails(5, "run", config, "-o", "out", says=says)
    assert not box.path("out").exists() and not box.cache.exists()
