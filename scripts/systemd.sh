#!/usr/bin/env bash
# Runs the unit that `edge-embed service install` writes under a real systemd, in namespaces of its own: its user, its
# filters, its keys as a credential. Asks for a vector, with the key and with a wrong one; kills it, and sees it started
# again; stops it. Nothing outside is touched, and no systemd need run here.
#
#   scripts/systemd.sh MODEL     as root, with systemd and edge-embed installed for PYTHON (default: .venv/bin/python)
set -euo pipefail
if [ "${1:-}" != --inside ]; then
    model=$(realpath "$1")
    python=${PYTHON:-$(dirname "$0")/../.venv/bin/python}
    export SHARE
    SHARE=$(mktemp -d)
    trap 'rm -rf "$SHARE"' EXIT
    chmod 0755 "$SHARE"
    openssl rand -hex 16 >"$SHARE/keys"
    "$python" -m edge_embed.cli.main service install "$model=model" --port 18300 --preload --api-key-file "$SHARE/keys" \
        --print >"$SHARE/edge-embed.service"
    cp "$0" "$SHARE/inside"
    touch "$SHARE/told"
    unshare --mount --pid --net --uts --ipc --cgroup --fork --kill-child bash "$0" --inside boot >"$SHARE/log" 2>&1 &
    for _ in $(seq 600); do
        if grep -qxE 'ended|failed' "$SHARE/told"; then break; fi
        sleep 0.2
    done
    { kill -KILL $! && wait $!; } 2>/dev/null || true
    cat "$SHARE/told"
    grep -qx ended "$SHARE/told"
elif [ "$2" = boot ]; then # as the first process of the namespaces
    mount --make-rprivate / && mount --make-rshared / # apart from the machine, then as systemd expects it
    mount -t proc proc /proc
    for place in /run /var/cache /var/lib; do mount -t tmpfs none "$place"; done
    mkdir -p /run/units/edge-embed.service.d
    for name in sysinit basic shutdown multi-user network network-online; do
        printf '[Unit]\nDefaultDependencies=no\n' >"/run/units/$name.target"
    done
    cp "$SHARE/edge-embed.service" /run/units/
    printf '[Service]\nStandardError=file:/run/log\nStandardOutput=null\n' >/run/units/edge-embed.service.d/log.conf
    printf '[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nEnvironment=SHARE=%s\n' "$SHARE" >/run/units/ask.service
    printf 'ExecStart=/bin/bash %s/inside --inside ask\nStandardOutput=append:%s/told\n' "$SHARE" "$SHARE" >>/run/units/ask.service
    export container=other SYSTEMD_UNIT_PATH=/run/units
    exec /lib/systemd/systemd --system --unit=ask.service --show-status=no
else # as a service beside ours
    ask() { # the key $1; prints the status
        curl -s -o /run/answer -w '%{http_code}' http://127.0.0.1:18300/v1/embeddings -H "authorization: Bearer $1" -d '{"input": "a text"}'
    }
    shown() { systemctl show edge-embed.service -p "$1" --value; }
    trap 'tail -5 /run/log; echo failed' ERR
    ip link set lo up
    systemctl start edge-embed.service
    pid=$(shown MainPID)
    echo "started for user $(shown UID), $(grep -c . /proc/"$pid"/maps) mappings, none writable and executable:"
    awk '$2 ~ /wx/ { print; found = 1 } END { exit found }' "/proc/$pid/maps"
    grep -E '^(CapBnd|CapEff|NoNewPrivs|Seccomp_filters):' "/proc/$pid/status"
    key=$(cat "$SHARE/keys")
    [ "$(ask "$key")" = 200 ] && echo "a vector: $(head -c 60 /run/answer)..."
    [ "$(ask wrong)" = 401 ] && echo "a wrong key is refused"
    [ -z "$(nsenter -t "$pid" -m find /home -mindepth 1)" ] && echo "it sees no home"
    kill -KILL "$pid"
    for _ in $(seq 100); do [ "$(shown NRestarts)" = 1 ] && [ "$(shown ActiveState)" = active ] && break; sleep 0.2; done
    [ "$(ask "$key")" = 200 ] && echo "killed, and started again"
    systemctl stop edge-embed.service
    [ "$(shown Result) $(shown ExecMainStatus)" = "success 0" ] && echo "stopped with 0"
    echo ended
fi
