#!/bin/sh
# sandbox.sh [-c CAPABILITY] [SOURCE:NAME[:write]...] -- COMMAND...
# Becomes COMMAND as nobody, without capabilities, with each SOURCE at /srv/NAME: a file as a copy, a folder mounted,
# read-only unless it says write. The sources may lie where nobody may not look. The mounts are this process's own.
set -eu
capability=-all
if [ "$1" = -c ]; then
    capability="-all,+$2"
    shift 2
fi
mount -t tmpfs -o mode=0755,size=64m site /srv
mkdir -m 1777 /srv/tmp
while [ "$1" != -- ]; do
    source=${1%%:*} name=${1#*:} mode=
    case $name in *:write) name=${name%:write} mode=write ;; esac
    target=/srv/$name
    if [ -d "$source" ]; then
        mkdir -p "$target"
        mount --bind "$source" "$target"
        if [ -z "$mode" ]; then mount -o remount,bind,ro "$target"; fi
    else
        mkdir -p "$(dirname "$target")"
        install -o nobody -g nogroup -m 0400 "$source" "$target"
    fi
    shift
done
shift
# whoever started it to end together with it is heeded: a change of user would forget that
exec setpriv --pdeathsig keep --reuid nobody --regid nogroup --clear-groups --no-new-privs \
    --bounding-set "$capability" --inh-caps "$capability" --ambient-caps "$capability" -- "$@"
