"""scripts/slurm_array on a Slurm of one node, which is started for these tests and ends with them."""

import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "results"))
import load as results

PROGRAM = os.environ["SALEBENCH_PROGRAM"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH", "SQUEUE"))}
ENVIRONMENT["PATH"] += ":/usr/sbin:/sbin"
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "sinfo")
PATIENCE = 600  # seconds after which a test gives up, far beyond any slow machine
QUICK = {"warmup": 0, "min_time": 0, "max_time": 0.02, "min_samples": 2, "cache": "hot"}
ACCURACY = ["density", "tile_density", "recall_mean", "recall_p05", "recall_min", "rel_l2", "rel_l2_worst", "max_abs",
            "l1_per_token", "cos_min", "gain", "flops_executed", "flops_dense"]

# Nothing of the machine's own Slurm or munge: sockets, ports and states are all of one folder.
CONFIG = """\
ClusterName=salebench
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,bf_interval=1
MailProg=/bin/true
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def wait_for(condition, what):
    """Polls until the condition gives something true; `what` tells what did not happen."""
    give_up = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < give_up, what()
        time.sleep(0.1)
    return value


class Slurm:
    """Its daemons, in the foreground, in a folder with a short path, as that of a socket has to be."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="salebench-slurm-"))
        self.folder.chmod(0o755)
        self.env = {**ENVIRONMENT, "SLURM_CONF": str(self.folder / "slurm.conf")}
        self.daemons = []

    def start(self):
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        (self.folder / "munge.key").write_bytes(os.urandom(1024))
        (self.folder / "munge.key").chmod(0o400)
        host = socket.gethostname().split(".")[0]
        (self.folder / "slurm.conf").write_text(CONFIG.format(host=host, folder=self.folder, ports=free_ports(2)))
        munge = {"socket": "socket", "key-file": "key", "pid-file": "pid", "seed-file": "seed", "log-file": "log"}
        self.daemon("munged", "--foreground", "--force", "--num-threads=2",
                    *(f"--{option}={self.folder}/munge.{end}" for option, end in munge.items()))
        wait_for((self.folder / "munge.socket").exists, self.logs)
        self.daemon("slurmctld", "-D")
        self.daemon("slurmd", "-D")
        wait_for(self.is_idle, self.logs)

    def daemon(self, name, *arguments):
        with open(self.folder / f"{name}.log", "w") as log:
            self.daemons.append(subprocess.Popen([name, *arguments], env=self.env, stdout=log, stderr=log))

    def asks(self, *words):
        assert all(daemon.poll() is None for daemon in self.daemons), self.logs()
        return subprocess.run(words, env=self.env, text=True, capture_output=True, timeout=PATIENCE).stdout.strip()

    def is_idle(self):
        return self.asks("sinfo", "--noheader", "--format=%T") == "idle"

    def logs(self):
        return "\n".join(f"{path.name}:\n{path.read_text()[-3000:]}" for path in sorted(self.folder.glob("*.log")))

    def wait_for_all(self):
        wait_for(lambda: not self.asks("squeue", "--noheader"), self.logs)

    def end(self):
        try:
            if len(self.daemons) == 3 and self.asks("sinfo", "--noheader"):
                self.asks("scancel", "--user=root")
                self.wait_for_all()
        finally:
            for daemon in reversed(self.daemons):
                daemon.terminate()
                try:
                    daemon.wait(timeout=30)
                except subprocess.TimeoutExpired:
                    daemon.kill()
                    daemon.wait()
            shutil.rmtree(self.folder)


@pytest.fixture(scope="module")
def slurm():
    missing = [name for name in NEEDED if not shutil.which(name, path=ENVIRONMENT["PATH"])]
    if missing:
        pytest.skip(f"{', '.join(missing)} is missing: apt-get install slurm-wlm")
    if os.geteuid() != 0:
        pytest.skip("daemons of Slurm need root")
    slurm = Slurm()
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.end()


class Sweep:
    """A folder with a capture and a config, whose name has a space and what Slurm replaces in the paths of logs."""

    def __init__(self, folder, **more):
        self.folder = folder / "a b %j"
        self.folder.mkdir()
        self.env = {**ENVIRONMENT, "SALEBENCH_CACHE": str(folder / "cache"), "SALEBENCH_PROGRAM": PROGRAM}
        self.program("synth", "-o", "capture.h5", "--length", "256", "--q-heads", "2", "--kv-heads", "1",
                     "--head-dim", "32", "--dtype", "float16")
        config = {"datasets": [{"path": "capture.h5", "lengths": [128, 256]}], "threads": 1, "measure": QUICK,
                  "methods": {"dense": {}, "block_topk": {"budget": [0.2, 0.5]}}, **more}
        self.path("my sweep.yaml").write_text(json.dumps(config))  # JSON is YAML

    def path(self, name):
        return self.folder / name

    def program(self, *arguments):
        subprocess.run([PROGRAM, *arguments], cwd=self.folder, env=self.env, check=True, timeout=PATIENCE)

    def submit(self, *arguments, program=PROGRAM, code=0, slurm=None):
        """scripts/slurm_array with this config; returns what it says."""
        words = [ROOT / "scripts/slurm_array", "my sweep.yaml", "--program", program, *arguments]
        env = {**self.env, "SLURM_CONF": slurm.env["SLURM_CONF"]} if slurm else self.env
        process = subprocess.run(words, cwd=self.folder, env=env, text=True, capture_output=True, timeout=PATIENCE)
        logs = [f"{path}:\n{path.read_text()}" for path in self.folder.rglob("*.shards/*.log")]
        assert process.returncode == code, "\n".join([process.stdout, process.stderr, *logs])
        return process.stdout + process.stderr

    def cells(self, name="runs/my sweep"):
        return results.load(self.path(name)).cells

    def log(self, name):
        return self.path(f"runs/my sweep.shards/{name}.log").read_text()


@pytest.fixture
def sweep(tmp_path):
    return Sweep(tmp_path)


def job(said, kind):
    return re.search(rf"{kind} job (\d+):", said)[1]


def test_shards_of_an_array_make_the_whole(slurm, sweep):
    sweep.program("run", "my sweep.yaml", "-o", "whole", "-q")
    said = sweep.submit("-n", "3", "--wait", "--", "--exclusive", "--time=30", slurm=slurm)
    assert "warning" not in said and f"squeue -j {job(said, 'array')},{job(said, 'collect')}" in said
    assert "TimeLimit=00:30:00" in slurm.asks("scontrol", "show", "job", job(said, "collect"))
    assert "6 cells of 3 folders" in sweep.log("collect") and sweep.log("2")
    merged, whole = sweep.cells(), sweep.cells("whole")
    assert len(whole) == 6 and set(merged.status) == {"ok"}
    for name in ("cell", "id", "method", "params", "problem", "node", *ACCURACY):
        assert merged[name].equals(whole[name]), name


def test_what_a_failed_and_a_killed_task_leave_is_collected_and_goes_on(slurm, sweep):
    program = sweep.path("failing program")
    program.write_text("""#!/usr/bin/env bash
case "$*" in
  *--dry-run*) ;;
  *"--shard 2/3"*) exit 7 ;;
  *"--shard 3/3"*) "$SALEBENCH_PROGRAM" "$@"; kill -KILL $PPID; exit ;;
esac
exec "$SALEBENCH_PROGRAM" "$@"
""")
    program.chmod(0o755)
    said = sweep.submit("-n", "3", "--wait", program=program, code=1, slurm=slurm)
    assert "without --exclusive" in said
    log = sweep.log("collect")
    assert "shard 2/3 ended with exit code 7" in log and "shard 2/3 has measured nothing" in log
    assert "shard 3/3 has not come to its end" in log and "shard 1/3" not in log
    assert "shards 2/3 are not there; 2 cells of the sweep are missing" in log
    before = sweep.cells().set_index("id")
    assert len(before) == 4 and set(before.status) == {"ok"}
    sweep.submit("-n", "3", "--wait", "--", "--array=2-3", slurm=slurm)
    after = sweep.cells().set_index("id")
    assert len(after) == 6 and set(after.status) == {"ok"}
    assert after.finished_utc[before.index].equals(before.finished_utc)


def test_a_task_that_is_requeued_goes_on_where_it_was(slurm, tmp_path):
    sweep = Sweep(tmp_path, methods={"dense": {}}, measure={**QUICK, "min_time": 3, "max_time": 3})
    said = sweep.submit("-n", "1", slurm=slurm)
    task = job(said, "array") + "_1"
    shard = sweep.path("runs/my sweep.shards/1of1")
    first = wait_for(lambda: list(shard.glob("cells/*.h5")), slurm.logs)[0].stem
    slurm.asks("scontrol", "requeue", task)
    # It begins in two minutes, if nobody asks for less; a node launches none in the second in which it killed the last.
    wait_for(lambda: slurm.asks("squeue", "--noheader", "--format=%r", f"--job={task}") == "BeginTime", slurm.logs)
    wait_for(slurm.is_idle, slurm.logs)
    finished = results.load(shard).cells.set_index("id").finished_utc[first]
    slurm.asks("scontrol", "update", f"jobid={task}", "starttime=now+2")
    slurm.wait_for_all()
    cells = sweep.cells().set_index("id")
    assert list(cells.status) == ["ok", "ok"], sweep.log("1") + slurm.logs()
    assert cells.finished_utc[first] == finished
    assert "REQUEUE" in sweep.log("1")


def test_a_dry_run_says_what_would_be_submitted(sweep):
    said = sweep.submit("-n", "3", "-o", "out", "--dry-run", "--", "-p", "fast", "--gres=gpu:1", "--account=me", "-t9")
    array, collect = (line for line in said.splitlines() if "sbatch " in line)
    assert "--array=1-3" in array and "--gres=gpu:1" in array and "-p fast" in array
    assert "--gres" not in collect and "-p fast --account=me -t9" in collect and "afterany" in collect
    assert "/out.shards/%a.log" in array and "%%j" in array
    assert not sweep.path("out.shards").exists()


@pytest.mark.parametrize("arguments, says", [
    ([], "-n is missing"), (["-n", "0"], "from 1 on"), (["-n", "2x"], "from 1 on"), (["-n"], "-n needs a value"),
    (["-n", "7"], "give fewer"), (["-n", "2", "--exclusive"], "come after --"), (["-n", "2", "b.yaml"], "one config"),
    (["-n", "2", "-o", "full"], "-o names another folder"), (["-n", "2", "--program", "none"], "--program none"),
])
def test_mistakes_are_named(sweep, arguments, says):
    sweep.path("full").mkdir()
    assert says in sweep.submit(*arguments, code=2)


def test_a_machine_without_slurm_is_named(sweep, tmp_path):
    (tmp_path / "bin").mkdir()
    for name in ("bash", "dirname", "env", "sed", "realpath"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    sweep.env["PATH"] = str(tmp_path / "bin")
    assert "no sbatch here" in sweep.submit("-n", "2", code=2)
    assert "is missing" not in sweep.submit("--help") and "--exclusive" in sweep.submit("--help")
