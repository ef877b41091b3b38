#!/usr/bin/env bash
# Debian's Redis, unmodified, as a marble: its configuration with a generated password, its certificate, key and CA
# come from the manifest. redis-cli reaches it with another marble's identity, and without one it does not. See
# README.md.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

need redis-server redis-server
need redis-cli redis-tools
need openssl openssl
build
start_coordinator
port="$(free_port)"
set_manifest "$repository/examples/redis/manifest.json" /tmp/marblerun-redis "$folder" \
    "tls-port 6380" "tls-port $port"

echo "starting Redis through marble-run"
(as_marble store) >"$folder/redis.log" 2>&1 &
redis=$!
processes+=("$redis")
answers() { (exec 3<>"/dev/tcp/127.0.0.1/$port"); }
wait_for 20 answers || die "Redis does not listen"

check "marble-run has become redis-server: same process id" \
    grep -q "redis-server" "/proc/$redis/cmdline"
check "its configuration, with the password, can be read by its owner alone" \
    test "$(stat -c %a "$folder/store/redis.conf")" = 600
refuse "the password is not on its command line" grep -q -- "--requirepass" "/proc/$redis/cmdline"

# ask OPTIONS... COMMAND: what Redis answers, or why there is no answer.
ask() {
    timeout 10 redis-cli -h 127.0.0.1 -p "$port" --no-auth-warning "$@" 2>&1 || true
}
export -f ask
export folder port

# as_reader SCRIPT: runs a shell script as a marble of type reader; $own is its identity.
as_reader() {
    own="--tls --cacert $folder/reader/ca.crt --cert $folder/reader/own.crt --key $folder/reader/own.key"
    export own
    (as_marble reader bash -c "$1") 2>"$folder/reader.log"
}

check "with another marble's identity and the password a value is written" \
    test "$(as_reader 'ask $own SET colour blue')" = OK
check "and read by the next activation of that marble" test "$(as_reader 'ask $own GET colour')" = blue
check "with the identity and without the password: NOAUTH" \
    grep -q NOAUTH <<<"$(as_reader 'unset REDISCLI_AUTH; ask $own GET colour')"
check "with the identity and a wrong password: refused" \
    grep -q -e WRONGPASS -e NOAUTH <<<"$(as_reader 'REDISCLI_AUTH=guess ask $own GET colour')"

# From here on redis-cli runs outside of any marble, but knows the password: only the identity is missing.
password="$(as_reader 'printf %s "$REDISCLI_AUTH"')"
check "the password has 256 bits" test "${#password}" = 64
export REDISCLI_AUTH="$password"
unanswered() {
    local answer
    answer="$(ask "$@" GET colour)"
    ! grep -q blue <<<"$answer"
}
check "without an identity: no answer" unanswered --tls --cacert "$folder/reader/ca.crt"
check "without TLS: no answer" unanswered
uuid="$(cat "$folder/reader.uuid")"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj "/CN=$uuid" \
    -keyout "$folder/forged.key" -out "$folder/forged.crt" 2>/dev/null
check "with a self-made certificate of the same name: no answer" \
    unanswered --tls --cacert "$folder/reader/ca.crt" --cert "$folder/forged.crt" --key "$folder/forged.key"
check "redis-cli does not accept Redis's certificate under another CA" \
    unanswered --tls --cacert "$folder/forged.crt" --cert "$folder/reader/own.crt" --key "$folder/reader/own.key"
check "after all this, the marble still reads its value" test "$(as_reader 'ask $own GET colour')" = blue
stranger() { (as_marble stranger true) 2>"$folder/stranger.log"; }
refuse "a marble type that is not in the manifest gets nothing" stranger
finish
