#!/usr/bin/env bash
# A throw-away PostgreSQL from Debian's packages. It keeps its data between up and down.
#   postgres.sh up|start|down|kill|demote|promote|reset|status|psql [ARGS]
# PG_FROM=host:port makes its data a copy of that server's, which it then follows by streaming, until promote. Each server has a PARTS_RUN.
# PG_PORT, PG_DB, PG_FSYNC=off for speed (never where a crash is tried), PG_EXTRA="-c name=value ..."
# As root it runs as PG_OSUSER (postgres), because PostgreSQL refuses root; as anybody else, as that user.
# shellcheck source=parts/lib.sh
. "$(dirname "$0")/lib.sh"
PORT=${PG_PORT:-15432} DB=${PG_DB:-parts} OSUSER=${PG_OSUSER:-postgres} FSYNC=${PG_FSYNC:-on}
NAME=postgres DATA=$PARTS_RUN/postgres-data

as_user() {
  if [ "$(id -u)" = 0 ]; then setpriv --reuid="$OSUSER" --regid="$(id -g "$OSUSER")" --init-groups "$@"; else "$@"; fi
}

programs() { find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1; }

install() {
  BIN=$(programs)
  [ -x "$BIN/initdb" ] && [ -x "$BIN/postgres" ] && return 0
  need_apt "$BIN/initdb" postgresql
  BIN=$(programs)
}

open_path() { # the user must get through every folder above the data
  local d=$DATA
  [ "$(id -u)" = 0 ] || return 0
  while d=$(dirname "$d"); [ "$d" != / ]; do as_user test -x "$d" || chmod o+x "$d"; done
}

init() {
  open_path
  [ -f "$DATA/PG_VERSION" ] && return 0
  local secret
  mkdir -p "$DATA"
  chmod 700 "$DATA"
  [ "$(id -u)" != 0 ] || chown "$OSUSER" "$DATA"
  [ -z "${PG_FROM:-}" ] || { copy "$PG_FROM"; return 0; }
  secret=$(mktemp)
  echo parts >"$secret"
  chmod 644 "$secret"
  if ! (cd / && as_user "$BIN/initdb" -D "$DATA" -U parts --pwfile="$secret" -A scram-sha-256 -E UTF8 --locale=C.UTF-8 --no-sync) >"$PARTS_RUN/initdb.log" 2>&1; then
    rm -f "$secret"
    tail -n 20 "$PARTS_RUN/initdb.log" >&2
    die "initdb failed"
  fi
  rm -f "$secret"
}

copy() { # HOST:PORT : a standby of that server, which follows it through the same address
  local from="host=${1%:*} port=${1##*:} user=parts password=parts application_name=standby"
  if ! (cd / && as_user "$BIN/pg_basebackup" -D "$DATA" -d "$from" -R -X stream -c fast --no-sync) >"$PARTS_RUN/basebackup.log" 2>&1; then
    tail -n 20 "$PARTS_RUN/basebackup.log" >&2
    die "pg_basebackup failed"
  fi
}

launch() {
  local prefix=()
  pid_of "$NAME" >/dev/null || need_free "$PORT"
  [ "$(id -u)" != 0 ] || prefix=(setpriv --reuid="$OSUSER" --regid="$(id -g "$OSUSER")" --init-groups)
  # shellcheck disable=SC2086
  (cd / && spawn "$NAME" "${prefix[@]}" "$BIN/postgres" -D "$DATA" -p "$PORT" -c listen_addresses="$PARTS_HOST" -c unix_socket_directories= \
    -c fsync="$FSYNC" -c full_page_writes="$FSYNC" -c max_connections=200 -c shared_buffers=128MB ${PG_EXTRA:-})
  wait_for "$NAME" 30 sql -d postgres -qAtc 'select 1'
}

sql() { PGPASSWORD=parts PGCONNECT_TIMEOUT=5 "$BIN/psql" -X -h "$PARTS_HOST" -p "$PORT" -U parts "$@"; }

crash() { # the postmaster and its children at once; where pid 1 is slow to reap them the lock file would still be held
  local pid kids
  pid=$(pid_of "$NAME") || return 0
  kids=$(pgrep -P "$pid" || true)
  stop "$NAME" KILL 5
  for pid in $kids; do kill -s KILL "$pid" 2>/dev/null || true; done
  rm -f "$DATA/postmaster.pid"
}

demote() { # a standby, which follows nobody
  stop "$NAME" INT 20
  as_user touch "$DATA/standby.signal"
  launch
}

case ${1:-} in
up) install; init; launch
  [ "$(sql -d postgres -Atc "select 1 from pg_database where datname = '$DB'")" = 1 ] || sql -qd postgres -c "create database \"$DB\""
  echo "DATABASE_URL=postgres://parts:parts@$PARTS_HOST:$PORT/$DB?sslmode=disable" ;;
start) install; launch ;;
demote) install; demote ;;
promote) install
  [ "$(sql -d postgres -Atc 'select pg_is_in_recovery()')" = t ] || demote
  sql -d postgres -qAtc 'select pg_promote()' | grep -qx t || die "not promoted" ;;
down) stop "$NAME" INT 20 ;; # fast: clients are cut off
kill) crash ;;
reset) stop "$NAME" INT 20; rm -rf "$DATA" ;;
status) echo "postgres pid=$(pid_of "$NAME" || echo -) rss_mib=$(rss_mib "$NAME" || echo -)" ;;
psql) install; shift; sql -d "$DB" "$@" ;;
*) sed -n '2,7p' "$0" >&2; exit 2 ;;
esac
