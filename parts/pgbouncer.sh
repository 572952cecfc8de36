#!/usr/bin/env bash
# Debian's PgBouncer before the server of postgres.sh, giving every transaction another connection.
#   pgbouncer.sh up|down|status
# PGBOUNCER_PORT, PG_PORT
# shellcheck source=parts/lib.sh
. "$(dirname "$0")/lib.sh"
PORT=${PGBOUNCER_PORT:-16432} TO=${PG_PORT:-15432} DIR=$PARTS_RUN/pgbouncer
as=()
[ "$(id -u)" != 0 ] || as=(setpriv --reuid=postgres --regid="$(id -g postgres)" --init-groups)
PATH=$PATH:/usr/sbin # where Debian has it

install() { command -v pgbouncer >/dev/null || need_apt pgbouncer pgbouncer; }

config() {
  mkdir -p "$DIR"
  cat >"$DIR/pgbouncer.ini" <<C
[databases]
* = host=$PARTS_HOST port=$TO user=parts password=parts
[pgbouncer]
listen_addr = $PARTS_HOST
listen_port = $PORT
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 8
max_client_conn = 200
server_check_delay = 0
C
  chmod -R a+rX "$DIR"
}

case ${1:-} in
up) install; config
  pid_of pgbouncer >/dev/null || need_free "$PORT"
  (cd / && spawn pgbouncer "${as[@]}" pgbouncer "$DIR/pgbouncer.ini")
  wait_for pgbouncer 20 port_open "$PORT"
  echo "POOLED_DATABASE_URL=postgres://parts:parts@$PARTS_HOST:$PORT/${PG_DB:-parts}?sslmode=disable" ;;
down) stop pgbouncer INT ;;
status) echo "pgbouncer pid=$(pid_of pgbouncer || echo -) rss_mib=$(rss_mib pgbouncer || echo -)" ;;
*) sed -n '2,4p' "$0" >&2; exit 2 ;;
esac
