#!/usr/bin/env bash
# All parts at once.
#   all.sh up|down|status
# up prints what the tests read from the environment, one NAME=value a line. PARTS_PORTS=free takes free ports in place of
# the usual ones, so that two runs do not meet.
# shellcheck source=parts/lib.sh
. "$(dirname "$0")/lib.sh"
ALL=(sinks mocks alertmanager prometheus chromium postgres pgbouncer kafka)
PORTS=$PARTS_RUN/ports # the free ports that were taken, until down

free_ports() { # NAME... : one line each, export NAME=port, of ports that nobody listens on now
  python3 - "$@" <<'P'
import socket
import sys

held = [(name, socket.create_server(("127.0.0.1", 0))) for name in sys.argv[1:]]
for name, listener in held:
    print(f"export {name}={listener.getsockname()[1]}")
P
}

case ${1:-} in
up)
  if [ "${PARTS_PORTS:-}" = free ] && [ ! -s "$PORTS" ]; then
    free_ports SINK_HTTP_PORT SINK_SMTP_PORT TWILIO_PORT SENDGRID_PORT AM_PORT PROM_PORT PG_PORT PGBOUNCER_PORT >"$PORTS"
  fi
  # shellcheck source=/dev/null
  [ ! -s "$PORTS" ] || . "$PORTS"
  [ "${PARTS_PORTS:-}" != free ] || export KAFKA_PORTS=free
  export AM_WEBHOOK=${AM_WEBHOOK:-http://127.0.0.1:${SINK_HTTP_PORT:-18080}/alertmanager}
  export PROM_ALERTS_TO=${PROM_ALERTS_TO:-127.0.0.1:${SINK_HTTP_PORT:-18080}}
  for part in "${ALL[@]}"; do "$PARTS_DIR/$part.sh" up; done ;;
down) for part in "${ALL[@]}"; do "$PARTS_DIR/$part.sh" down; done
  rm -f "$PORTS" ;;
status) for part in "${ALL[@]}"; do "$PARTS_DIR/$part.sh" status; done ;;
*) sed -n '2,5p' "$0" >&2; exit 2 ;;
esac
