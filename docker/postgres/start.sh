#!/bin/sh
# Creates the database the first time, then becomes the server. Arguments go to the server.
#
# PGDATA: folder of the database. PGHOST: folder of the socket.
# SECRETS: folder with the files owner_password and service_password; /run/secrets by default.
#
# Two roles: sonoprobe_owner owns the tables (sonoprobe migrate), sonoprobe_service uses them and owns
# nothing, so that row-level security holds for it. The superuser has no password: only the socket
# lets it in.
set -eu
secrets=${SECRETS:-/run/secrets}

# A password as an SQL literal.
literal() { printf "'%s'" "$(sed "s/'/''/g" "$secrets/$1")"; }

# Each line of the standard input is a statement. Single-user mode answers errors with exit code 0.
as_superuser() {
    log=$(postgres --single -c log_statement=none -D "$1" "$2" 2>&1 >/dev/null)
    case $log in *ERROR:* | *FATAL:*) echo "$log" | grep -E '^.*(ERROR|FATAL):' >&2; exit 1 ;; esac
}

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    new="$PGDATA.new" # renamed when it is whole, so that a kill leaves no half of a database
    rm -rf "$new"
    initdb --pgdata="$new" --username=postgres --encoding=UTF8 --locale=C --data-checksums \
        --auth-local=peer --auth-host=scram-sha-256 >/dev/null
    echo "host all all all scram-sha-256" >>"$new/pg_hba.conf"
    as_superuser "$new" postgres <<END
CREATE ROLE sonoprobe_owner LOGIN PASSWORD $(literal owner_password)
CREATE ROLE sonoprobe_service LOGIN PASSWORD $(literal service_password)
CREATE DATABASE sonoprobe OWNER sonoprobe_owner
END
    as_superuser "$new" sonoprobe <<END
CREATE EXTENSION vector
END
    mv "$new" "$PGDATA"
    sync
    echo "created the database sonoprobe"
fi
exec postgres -D "$PGDATA" -c "unix_socket_directories=$PGHOST" "$@"
