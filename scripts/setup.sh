# Shared by scripts/quickstart and scripts/test: installs what is missing and builds. Sourced, from the top folder.
# Quick and silent about what is already there.

build_packages=(g++ git cmake ninja-build ccache libhdf5-dev libeigen3-dev libcli11-dev libfmt-dev libspdlog-dev zlib1g-dev
  libyaml-cpp-dev libbenchmark-dev libgtest-dev nlohmann-json3-dev libxxhash-dev libhwy-dev libcpp-httplib-dev python3
  python3-venv)
test_packages=(clang-format clang-tidy libomp-dev chromium slurm-wlm)

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

# The library that the pages of runs draw with; without it they have tables alone.
ensure_vega() {
  scripts/get_vega >&2 || say "no plots in pages: scripts/get_vega could not fetch their library"
}

# build_progress LOG: keeps what Ninja says in a log, and says a line for each tenth of its steps.
build_progress() {
  local line tenth=0
  while IFS= read -r line; do
    printf '%s\n' "$line"
    [[ $line =~ ^\[([0-9]+)/([0-9]+)\] ]] || continue
    if ((BASH_REMATCH[2] >= 10 && 10 * BASH_REMATCH[1] / BASH_REMATCH[2] > tenth)); then
      tenth=$((10 * BASH_REMATCH[1] / BASH_REMATCH[2]))
      printf '   %d of %d steps\n' "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}" >&2
    fi
  done > "$1"
}

# build PRESET [CMAKE_OPTION...] [-- TARGET...]: configures and builds, the given targets or all.
build() {
  local preset=$1 log=build/$1.log options=() targets=()
  shift
  while [ $# -gt 0 ] && [ "$1" != -- ]; do options+=("$1"); shift; done
  [ $# -eq 0 ] || targets=(--target "${@:2}")
  mkdir -p build
  say "building preset $preset (all that the compilers say: $log)"
  { cmake --preset "$preset" "${options[@]}" && cmake --build --preset "$preset" "${targets[@]}"; } 2>&1 |
    build_progress "$log" || { tail -n 40 "$log" >&2; die "the build failed, see $log"; }
}
