"""What the tests of the installed program share: running it far from its sources, and the pages' code."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import h5py

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = Path(os.environ["SALEBENCH_BUILD"])
CMAKE = Path(os.environ["SALEBENCH_CMAKE"])
CPACK = CMAKE.with_name("cpack")

# Puts an empty file system where the sources and the build were, then runs the rest.
HIDE = 'for folder in "$1" "$2"; do [ ! -d "$folder" ] || mount -t tmpfs none "$folder" || exit 99; done; shift 2; exec "$@"'


def checked(*command, **options):
    """Runs a command of the build, which must succeed."""
    process = subprocess.run([*map(str, command)], text=True, capture_output=True, **options)
    assert process.returncode == 0, f"{command}\n{process.stdout}\n{process.stderr}"
    return process.stdout


def hidden(command):
    """The command, run where neither the checkout nor the build can be seen."""
    return ["unshare", "--mount", "sh", "-c", HIDE, "sh", str(ROOT), str(BUILD), *map(str, command)]


def can_hide():
    return shutil.which("unshare") is not None and subprocess.run(hidden(["true"]), capture_output=True).returncode == 0


def code_block(page, language):
    """The first fenced block of the language."""
    return re.search(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)[1]


def column(run, name):
    """A column of /cells of a run's folder."""
    with h5py.File(Path(run) / "run.h5") as file:
        return [value.decode() if isinstance(value, bytes) else value for value in file[f"cells/{name}"][()]]


class Elsewhere:
    """A folder with a home of its own, in which the program of a prefix is run."""

    def __init__(self, folder, prefix):
        self.folder, self.program = Path(folder), Path(prefix) / "bin/salebench"
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("SALEBENCH_")}
        self.env.update(HOME=str(folder), XDG_CACHE_HOME=str(self.folder / "cache"))

    def run(self, *arguments, code=0, hide=False, **environment):
        command = [self.program, *map(str, arguments)]
        process = subprocess.run(hidden(command) if hide else command, cwd=self.folder, env=self.env | environment,
                                 text=True, capture_output=True)
        assert process.returncode == code, f"{arguments}: {process.returncode}\n{process.stdout}\n{process.stderr}"
        return process

    def refuses(self, *arguments, says, **environment):
        """The program ends with the code of wrong usage and one line that holds all of `says`."""
        error = self.run(*arguments, code=2, **environment).stderr
        assert error.count("\n") == 1 and not [text for text in says if str(text) not in error], f"{says} in {error}"
