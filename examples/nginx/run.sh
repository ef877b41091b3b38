#!/usr/bin/env bash
# Debian's nginx, unmodified, as a marble: its configuration, certificate, key, CA and a password come from the
# manifest. curl reaches it with another marble's identity, and without one it does not. See README.md.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

need nginx nginx
need curl curl
need openssl openssl
build
start_coordinator
port="$(free_port)"
set_manifest "$repository/examples/nginx/manifest.json" /tmp/marblerun-nginx "$folder" :8443 ":$port"

echo "starting nginx through marble-run"
(as_marble web) >"$folder/nginx.log" 2>&1 &
nginx=$!
processes+=("$nginx")
answers() { (exec 3<>"/dev/tcp/127.0.0.1/$port"); }
wait_for 20 answers || die "nginx does not listen"

check "marble-run has become nginx: same process id, and its name is nginx" \
    test "$(cat "/proc/$nginx/comm" "$folder/web/nginx.pid" | tr '\n' ' ')" = "nginx $nginx "
check "its key can be read by its owner alone" test "$(stat -c %a "$folder/web/own.key")" = 600

# fetch OPTIONS...: prints the status, the body goes to $folder/body.
fetch() {
    curl --silent --show-error --max-time 10 --output "$folder/body" --write-out '%{http_code}' \
        --cacert "$folder/visitor/ca.crt" "$@" "https://localhost:$port/" 2>"$folder/curl.err" || true
}
export -f fetch
export folder port

# as_visitor SCRIPT: runs a shell script as a marble of type visitor; $own is its identity.
as_visitor() {
    own="--cert $folder/visitor/own.crt --key $folder/visitor/own.key"
    export own
    (as_marble visitor bash -c "$1") 2>"$folder/visitor.log"
}

status="$(as_visitor 'fetch $own --header "X-Password: $WEB_PASSWORD"')"
check "with another marble's identity and the password: 200" test "$status" = 200
uuid="$(cat "$folder/visitor.uuid")"
check "nginx sees the visitor's UUID in its certificate" grep -q "CN=$uuid" "$folder/body"

status="$(as_visitor 'fetch $own --header "X-Password: guess"')"
check "with an identity and a wrong password: 403" test "$status" = 403

# From here on curl runs outside of any marble: it has neither variable nor identity.
check "the password is not in the environment outside" test -z "${WEB_PASSWORD:-}"
status="$(fetch)"
check "without an identity: 400" test "$status" = 400
check "nginx says that a certificate is required" grep -q "No required SSL certificate was sent" "$folder/body"

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj "/CN=$uuid" \
    -keyout "$folder/forged.key" -out "$folder/forged.crt" 2>/dev/null
status="$(fetch --cert "$folder/forged.crt" --key "$folder/forged.key")"
check "with a self-made certificate of the same name: 400" test "$status" = 400
check "nginx says that it does not trust the certificate" grep -q "The SSL certificate error" "$folder/body"

unknown_ca() {
    curl --silent --max-time 10 --output /dev/null --cacert "$folder/forged.crt" "https://localhost:$port/"
}
refuse "curl does not accept nginx's certificate under another CA" unknown_ca
stranger() { (as_marble stranger true) 2>"$folder/stranger.log"; }
refuse "a marble type that is not in the manifest gets nothing" stranger
finish
