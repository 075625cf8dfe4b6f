"""Output folders that can't be written: exit code 6, with the system's reason, and nothing lost."""

import os
import subprocess

import pytest
from cli_helpers import HANG, TEST_PROGRAM, cases, lines_of, read_table, wait_for, worker_of


@pytest.fixture
def mount(box):
    """Mounts a small file system at <box>/small; skips the test where that is not allowed."""
    small = box.path("small")

    def mount(*options):
        small.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(small)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"cannot mount a file system: {done.stderr.strip()}")

    yield mount
    box.end_all()
    if os.path.ismount(small):
        subprocess.run(["umount", str(small)], check=True)


def test_below_a_file(box):
    box.path("file").write_text("")
    box.fails(6, "run", box.config({"dense": {}}), "-o", "file/out", says=["file/out", "Not a directory"])


def test_name_too_long(box):
    box.fails(6, "run", box.config({"dense": {}}), "-o", "x" * 300, says=["xxx", "File name too long"])


def test_read_only(box, mount):
    mount("ro")
    box.fails(6, "run", box.config({"dense": {}}), "-o", "small/out", says=["small/out", "Read-only file system"])


def full_disk_sweep(box, *arguments):
    """A sweep whose cells need more room than the disk has."""
    config = box.config({"dense": {}, "streaming": {"local": list(range(64, 104))}},
                        measure={"warmup": 0, "min_time": 0, "max_time": 0, "min_samples": 1, "baseline": "none"})
    return config, box.fails(6, "run", config, "-o", "small/out", "-q", *arguments, says=["small/out"])


@pytest.mark.parametrize("mode", cases({"workers": ([],), "in process": (["--in-process"],)}))
def test_full_disk(box, mount, mode):
    mount("size=1m")
    config, message = full_disk_sweep(box, *mode)
    assert "No space left on device" in message
    cells = sorted(box.path("small/out/cells").glob("*.h5"))
    assert 2 < len(cells) < 41
    assert all(read_table(path)[0]["status"] == "ok" for path in cells)
    assert not list(box.path("small/out/cells").glob("*.tmp*"))
    assert box.run("report", "small/out", "--all").stdout.count("interrupted") == 41 - len(cells)
    # With room again, the sweep goes on where it stopped.
    before = {path: path.stat().st_mtime_ns for path in cells}
    subprocess.run(["mount", "-o", "remount,size=64m", str(box.path("small"))], check=True)
    rows = box.sweep(config, "--resume", *mode, out="small/out")
    assert [row["status"] for row in rows] == ["ok"] * 41
    assert before == {path: path.stat().st_mtime_ns for path in cells}


def test_disk_that_fills_up_while_a_cell_runs(box, mount):
    """Not even the worker's log has room for what went wrong; the message still names it."""
    mount("size=1m")
    config = box.config({"test_slow": {"variant": [0, 1]}})
    parent = box.start("run", config, "-o", "small/out", "-q", program=TEST_PROGRAM)
    wait_for(lambda: worker_of(parent.pid), "a worker")
    with pytest.raises(OSError), open(box.path("small/filler"), "wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))
    _, errors = parent.communicate(timeout=HANG)
    assert parent.returncode == 6
    assert len(lines_of(errors)) == 1 and "small/out" in errors and "No space left on device" in errors, errors


def test_disk_too_small_for_the_plan(box, mount):
    mount("size=12k")
    _, message = full_disk_sweep(box)
    assert "No space left on device" in message


def test_truth_cache_that_cannot_be_written_costs_time_only(box):
    box.path("file").write_text("")
    box.env["SALEBENCH_CACHE"] = str(box.path("file/cache"))
    rows = box.sweep(box.config({"dense": {}, "streaming": {}}))
    assert [row["status"] for row in rows] == ["ok", "ok"]
