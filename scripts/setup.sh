# Shared by scripts/quickstart and scripts/test: installs what is missing and builds. Sourced, from the top folder.
# Quick and silent about what is already there.

build_packages=(g++ git cmake ninja-build ccache libhdf5-dev libeigen3-dev libcli11-dev libfmt-dev libspdlog-dev zlib1g-dev
  libyaml-cpp-dev libbenchmark-dev libgtest-dev nlohmann-json3-dev libxxhash-dev libhwy-dev python3 python3-venv)
test_packages=(clang-format clang-tidy libomp-dev)

say() { printf '== %s\n' "$*" >&2; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# ensure_packages PACKAGE...
ensure_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  command -v apt-get > /dev/null || die "these packages are needed, and there is no apt-get to install them: ${missing[*]}"
  local root=()
  [ "$(id -u)" -eq 0 ] || root=(sudo)
  say "installing ${missing[*]}"
  mkdir -p build
  "${root[@]}" apt-get update -qq > build/apt.log 2>&1 &&
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" \
      >> build/apt.log 2>&1 || { tail -n 20 build/apt.log >&2; die "apt-get failed, see build/apt.log"; }
}

# The Python packages of requirements.txt in .venv; again when that file changes.
ensure_venv() {
  local want
  want=$(sha256sum < requirements.txt)
  [ "$(cat .venv/requirements.sha256 2> /dev/null)" = "$want" ] && return
  say "installing Python packages into .venv"
  python3 -m venv .venv || die "python3 -m venv failed"
  .venv/bin/pip install -q --disable-pip-version-check -r requirements.txt || die "pip could not install requirements.txt"
  printf '%s\n' "$want" > .venv/requirements.sha256
}

# build PRESET
build() {
  local log=build/$1.log
  mkdir -p build
  say "building preset $1"
  { cmake --preset "$1" && cmake --build --preset "$1"; } > "$log" 2>&1 || { tail -n 40 "$log" >&2; die "the build failed, see $log"; }
}
