#!/usr/bin/env bash
# Does what a 64-bit Raspberry Pi would, emulated by qemu-user: runs the commands of docs/raspberry-pi.md as they stand
# there, installing from PyPI as a user does, and without a network once that is done; then the tests that need neither
# PyTorch nor a conversion; then loads a model that this machine converted, so that its self-test compares vectors.
#
#   scripts/aarch64.sh FOLDER MODEL [CPU] [all | TEST...]
#
# As root, with mmdebstrap, qemu-user-static and Linux 6.7 (an emulator for these processes alone). FOLDER is kept.
# MODEL is a folder of edge-embed convert with several ONNX levels. CPU is one of qemu's: cortex-a76 is a Pi 5 (dot
# products), cortex-a72 a Pi 4 (none). `all` runs every test that PyTorch is not imported for, which takes hours; a TEST
# is a file below tests/. SUITE=bookworm takes Debian 12. Emulation tells nothing of speed.
set -euo pipefail
fast="pipeline/test_batches device test_embedder images/test_sources spec/test_model pipeline/test_tokenizer
    test_errors server/test_sockets server/test_service"
pi=scripts/emulated_pi

if [ "${1:-}" = --inside ]; then # as root of namespaces of our own
    folder=$2 root=$2/root
    shift 2
    mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
    elf='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
    mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
    printf '%s' ":aarch64:M::$elf:$mask:$(command -v qemu-aarch64-static):F" >/proc/sys/fs/binfmt_misc/register
    mount -t proc proc "$root/proc"
    mount --bind "$folder/cpuinfo" "$root/proc/cpuinfo"
    mount --rbind /dev "$root/dev"
    mount --bind "$folder/model" "$root/mnt"
    emulated() {
        chroot "$root" /usr/bin/env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin HOME=/root LANG=C.UTF-8 QEMU_CPU="$QEMU_CPU" \
            SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
            bash -euo pipefail -c "cd /root/edge_embed && $1"
    }
    if [ "$1" = connected ]; then
        emulated "source $pi/commands.sh && page until 'edge-embed doctor'"
        emulated ".venv/bin/pip install -q pytest hypothesis pillow gguf"
    else
        ip link set lo up
        emulated "source $pi/commands.sh && page after 'edge-embed doctor'"
        emulated "EDGE_EMBED_SELFTEST=always .venv/bin/python -m pytest -q -p no:cacheprovider $*"
        emulated "EDGE_EMBED_SELFTEST=always .venv/bin/python $pi/load_levels.py /mnt"
    fi
    exit
fi

cd "$(dirname "$0")/.."
mkdir -p "$1"
folder=$(realpath "$1")
model=$(realpath "$2")
export QEMU_CPU=${3:-cortex-a76}
shift $(($# > 2 ? 3 : 2))
if [ "$*" = all ]; then
    tests=$(grep -rLE '\b(torch|(sentence_)?transformers|tiny|oracle|playwright)\b' tests --include='test_*.py')
else
    tests=$(for name in ${*:-$fast}; do ls -d "tests/${name%.py}.py" 2>/dev/null || ls -d "tests/$name"; done)
fi

if [ ! -e "$folder/root/usr/bin/python3" ]; then # unpacked is all we need; what the page installs is in it
    needs=$(sed -n 's/^sudo apt-get install --yes //p' docs/raspberry-pi.md | tr ' ' ,)
    mmdebstrap --variant=extract --architectures=arm64 --include="bash,coreutils,sed,grep,libstdc++6,$needs" \
        "${SUITE:-trixie}" "$folder/root"
fi
root=$folder/root
mkdir -p "$root"/{proc,dev,mnt,root,usr/local/bin,etc/ssl/certs,etc/systemd/system,sys/devices/system/cpu}
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/" # this machine's, which may know a proxy
cp /etc/resolv.conf /etc/hosts "$root/etc/"
echo 'root:x:0:0:root:/root:/bin/bash' >"$root/etc/passwd"
for name in possible present online; do echo "0-$(($(nproc) - 1))" >"$root/sys/devices/system/cpu/$name"; done
install -m 0755 $pi/bin/* "$root/usr/local/bin/"
features="fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid" part=0xd08
if [ "$QEMU_CPU" = cortex-a76 ]; then
    features="$features atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp" part=0xd0b
fi
for ((cpu = 0; cpu < $(nproc); cpu++)); do
    printf 'processor\t: %s\nBogoMIPS\t: 108.00\nFeatures\t: %s\nCPU implementer\t: 0x41\n' "$cpu" "$features"
    printf 'CPU architecture: 8\nCPU variant\t: 0x4\nCPU part\t: %s\nCPU revision\t: 1\n\n' "$part"
done >"$folder/cpuinfo"
echo $'Model\t\t: an emulated Raspberry Pi' >>"$folder/cpuinfo"
rm -rf "$root/root/edge_embed" "$root/var/cache/edge-embed" "$folder/model"
mkdir "$root/root/edge_embed" "$folder/model"
cp -r "$model/." "$folder/model"
git ls-files -z --cached --others --exclude-standard | tar --null -T - -c | tar -x -C "$root/root/edge_embed"
enter() { # with the namespaces' options $1
    # shellcheck disable=SC2086 # words
    unshare --user --map-root-user --mount --pid --fork --kill-child --propagation private $1 \
        bash "$PWD/scripts/aarch64.sh" --inside "$folder" "${@:2}"
}
enter "" connected
# shellcheck disable=SC2086 # words
enter --net alone $tests
