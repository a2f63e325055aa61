#!/usr/bin/env bash
# Builds the container and runs it: as its own user, without capabilities, on a root that is read-only. Asks whether it
# is ready, for its health as the image says it, and for a vector; then ends it, and tells the image's size.
#
#   scripts/container.sh FOLDER MODEL [BASE]     as root, with buildah, and mmdebstrap where no BASE is named
#
# MODEL is a folder of edge-embed convert. BASE is an image; without one Debian's Python is put together in FOLDER,
# which is kept: nothing is pulled from a registry. All of it runs where no container can be started.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p "$1"
folder=$(realpath "$1")
model=$(realpath "$2")
base=${3:-localhost/edge-embed-base}
export BUILDAH_ISOLATION=chroot STORAGE_DRIVER=vfs
certificates=/etc/ssl/certs/ca-certificates.crt # this machine's, which may know a proxy

if [ $# -lt 3 ] && ! buildah inspect --type image "$base" >/dev/null 2>&1; then
    if [ ! -e "$folder/root.tar" ]; then
        mmdebstrap --variant=minbase --include=python3,python3-venv,ca-certificates,libstdc++6 \
            --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
            --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$folder/root.tar"
    fi
    printf 'FROM scratch\nADD root.tar /\n' | buildah build -q -t "$base" -f - "$folder"
fi
began=$SECONDS
buildah build -q --format docker --build-arg "BASE=$base" -v "$certificates:$certificates:ro" -t edge-embed .
echo "built in $((SECONDS - began)) s"
buildah push -q edge-embed "oci-archive:$folder/image.tar"
buildah images --format '{{.Name}} {{.Size}}' edge-embed
echo "compressed $(($(stat -c %s "$folder/image.tar") / 1000000)) MB"

buildah inspect --type image edge-embed >"$folder/image.json"
container=$(buildah from edge-embed)
trap 'buildah rm "$container" >/dev/null' EXIT
unshare --mount --net python3 scripts/run_container.py "$(buildah mount "$container")" "$folder/image.json" "$model"
