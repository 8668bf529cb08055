# Becomes a container's program, the way a container runtime makes one of a pod's manifest:
#
#   container.sh ROOT MOUNTS DROPPED PROGRAM [ARG...]
#
# ROOT is the image's file system, MOUNTS a file with lines "SOURCE<tab>TARGET<tab>rw|ro", DROPPED
# the capabilities that are taken away, with commas between them. It runs in mount and process
# namespaces of its own.
set -euo pipefail
root="$1" mounts="$2" dropped="$3" program="$4"
shift 4

mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 dev "$root/dev"
for device in null zero urandom; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
while IFS=$'\t' read -r source target mode; do
    if [ -d "$source" ]; then
        mkdir -p "$root$target"
    else
        mkdir -p "$(dirname "$root$target")"
        touch "$root$target"
    fi
    mount --bind "$source" "$root$target"
    [ "$mode" = rw ] || mount -o remount,bind,ro "$root$target"
done <"$mounts"
# What runtimes keep from everybody who is not privileged.
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
# readOnlyRootFilesystem
mount -o remount,bind,ro "$root"
cd /
# Root of what is left, and never of more again (allowPrivilegeEscalation).
exec capsh --chroot="$root" --drop="$dropped" --no-new-privs --shell="$program" -- "$@"
