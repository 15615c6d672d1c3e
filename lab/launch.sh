#!/bin/sh
# launch.sh [CGROUP-FOLDER...] -- COMMAND...   Joins the groups, then becomes the command.
# LLMAAS_OVERLAY_ROOT, with _LOWER, _UPPER and _WORK, mounts a host's disk first, in a mount namespace of the command's
# own: the mount ends with the last process that uses it, however that ends, so none is ever left behind.
set -eu
while [ "$1" != -- ]; do
    echo $$ > "$1/cgroup.procs"
    shift
done
shift
if [ -n "${LLMAAS_OVERLAY_ROOT:-}" ]; then
    exec unshare --mount --propagation private sh -euc '
        mount -t overlay overlay -o "lowerdir=$LLMAAS_OVERLAY_LOWER,upperdir=$LLMAAS_OVERLAY_UPPER,workdir=$LLMAAS_OVERLAY_WORK" "$LLMAAS_OVERLAY_ROOT"
        exec "$@"' launch "$@"
fi
exec "$@"
