#!/bin/sh
# Makes the cluster at the first start, then becomes the server. Arguments go to the server.
# The cluster is made beside its place and moved there when it is complete: an interrupted first start begins again.
set -eu
umask 077
config=/etc/postgresql/postgresql.conf

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    : "${POSTGRES_PASSWORD_FILE:?names no file with the password of the account postgres}"
    new="$PGDATA.new"
    if [ -e "$new" ]; then
        rm -r "$new"
    fi
    initdb --pgdata="$new" --username=postgres --pwfile="$POSTGRES_PASSWORD_FILE" --auth-local=peer \
        --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --data-checksums
    mv "$new" "$PGDATA"
fi
exec postgres -D "$PGDATA" -c "config_file=$config" "$@"
