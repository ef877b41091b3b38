# Shared by the run.sh of the examples; sourced, not executed. Builds the programs, starts a Coordinator in
# simulation in a temporary folder, starts marbles, counts checks, and ends what it started.

set -euo pipefail

repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
export PATH="$PATH:/usr/sbin:/sbin"

folder="$(mktemp -d "${TMPDIR:-/tmp}/marblerun-example.XXXXXX")"
# Workers of a server started as root run as another user and have to reach their part of the folder.
chmod 711 "$folder"
processes=()
passed=0
failed=0

# Ends the processes this script started, the last one first, and removes the folder.
clean_up() {
    local status=$? index id
    trap - EXIT INT TERM
    for ((index = ${#processes[@]} - 1; index >= 0; index--)); do
        id="${processes[index]}"
        kill "$id" 2>/dev/null || true
        wait "$id" 2>/dev/null || true
    done
    if [ "$status" -ne 0 ]; then
        local log
        for log in "$folder"/*.log; do
            [ -s "$log" ] || continue
            echo "--- end of $(basename "$log")" >&2
            tail -n 15 "$log" >&2
        done
    fi
    rm -rf "$folder"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

die() {
    echo "error: $*" >&2
    exit 1
}

# need PROGRAM PACKAGE: installs the Debian package unless the program is there.
need() {
    command -v "$1" >/dev/null && return 0
    [ "$(id -u)" -eq 0 ] || die "$1 is missing: install the package $2, or run this as root"
    echo "installing the package $2"
    [ -n "${package_lists_read:-}" ] || apt-get update -qq
    package_lists_read=1
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >/dev/null
}

# Builds our programs and puts their folder into $programs.
build() {
    echo "building"
    cargo build --quiet --manifest-path "$repository/Cargo.toml" --bins \
        -p marblerun-coordinator -p marblerun-cli -p marblerun-marble
    programs="$(cargo metadata --manifest-path "$repository/Cargo.toml" --format-version 1 --no-deps |
        sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/debug"
    [ -x "$programs/marble-run" ] || die "no marble-run in $programs"
}

# A port of 127.0.0.1 that nobody listens on.
free_port() {
    local port
    for _ in $(seq 100); do
        port=$((20000 + RANDOM % 12000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return 0
        fi
    done
    die "found no free port"
}

# wait_for SECONDS COMMAND...: until the command succeeds.
wait_for() {
    local until=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$until" ] || return 1
        sleep 0.05
    done
}

# Starts a Coordinator; its addresses are in $client_address and $mesh_address.
start_coordinator() {
    "$programs/marblerun-coordinator" --simulation --client-addr 127.0.0.1:0 --mesh-addr 127.0.0.1:0 \
        --dns-names localhost --seal-dir "$folder/state" --ready-file "$folder/ready.json" \
        >"$folder/coordinator.log" 2>&1 &
    processes+=($!)
    wait_for 20 test -s "$folder/ready.json" || die "the Coordinator did not start"
    client_address="$(sed -n 's/.*"client" *: *"\([^"]*\)".*/\1/p' "$folder/ready.json")"
    mesh_address="$(sed -n 's/.*"mesh" *: *"\([^"]*\)".*/\1/p' "$folder/ready.json")"
}

# set_manifest FILE FROM TO [FROM TO]...: sets the manifest with each FROM replaced.
set_manifest() {
    local text file="$1"
    text="$(cat "$file")"
    shift
    while [ "$#" -gt 0 ]; do
        text="${text//"$1"/"$2"}"
        shift 2
    done
    printf '%s\n' "$text" >"$folder/manifest.json"
    "$programs/marblerun" manifest set "$folder/manifest.json" "$client_address" --insecure \
        --coordinator-cert "$folder/coordinator-cert.pem"
}

# as_marble TYPE PROGRAM ARGUMENTS...: becomes the program, as a marble of that type. Run it in the background or
# in a subshell.
as_marble() {
    local marble_type="$1"
    shift
    export EDG_MARBLE_TYPE="$marble_type" EDG_MARBLE_COORDINATOR_ADDR="$mesh_address" \
        EDG_MARBLE_UUID_FILE="$folder/$marble_type.uuid" EDG_MARBLE_DNS_NAMES=localhost
    exec "$programs/marble-run" -- "$@"
}

# check WHAT COMMAND...: the command has to succeed.
check() {
    local what="$1"
    shift
    if "$@"; then
        passed=$((passed + 1))
        echo "PASS: $what"
    else
        failed=$((failed + 1))
        echo "FAIL: $what"
    fi
}

# refuse WHAT COMMAND...: the command has to fail.
refuse() {
    local what="$1"
    shift
    if "$@"; then
        failed=$((failed + 1))
        echo "FAIL: $what"
    else
        passed=$((passed + 1))
        echo "PASS: $what"
    fi
}

# Says how it went; the script's last command.
finish() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
}
