# Shared by the scripts that take C++ headers out of a Python wheel. Sourced, from the top folder.

# fetch_headers PACKAGE VERSION INTO ROOT FOLDER...: those folders below ROOT ("" for the top) of the wheel.
fetch_headers() (
  package=$1 version=$2 into=$3 root=$4
  shift 4
  python=.venv/bin/python
  [ -x "$python" ] || python=python3
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  "$python" -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: -d "$work" "$package==$version"
  "$python" - "$work" "$root" "$@" << 'UNPACK'
import pathlib, sys, zipfile
work, root, folders = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
wanted = tuple(f"{root}/{folder}/".lstrip("/") for folder in folders)
with zipfile.ZipFile(next(work.glob("*.whl"))) as wheel:
    wheel.extractall(work / "tree", [name for name in wheel.namelist() if name.startswith(wanted)])
UNPACK
  rm -rf "$into"
  mkdir -p "$into"
  cp -r "$work/tree/$root/." "$into/"
  printf '%s\n' "$version" > "$into/VERSION"
  echo "$package $version: $PWD/$into"
)
