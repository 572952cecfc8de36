#!/usr/bin/env bash
# The receiving ends: an HTTP sink and an SMTP sink, each keeping what it gets as JSON lines.
#   sinks.sh up|down|status|reset     SINK_HTTP_PORT, SINK_SMTP_PORT; files: $PARTS_RUN/http.jsonl, $PARTS_RUN/smtp.jsonl
# shellcheck source=parts/lib.sh
. "$(dirname "$0")/lib.sh"
HP=${SINK_HTTP_PORT:-18080} MP=${SINK_SMTP_PORT:-18025} VENV=$PARTS_CACHE/venv-smtp
case ${1:-} in
up)
  if [ ! -x "$VENV/bin/python" ] || ! "$VENV/bin/python" -c 'import aiosmtpd' 2>/dev/null; then
    python3 -m venv "$VENV" && "$VENV/bin/pip" install -q aiosmtpd==1.4.6 >&2
  fi
  spawn sink-http python3 "$PARTS_DIR/sink.py" "$HP" "$PARTS_RUN/http.jsonl"
  spawn sink-smtp "$VENV/bin/python" "$PARTS_DIR/smtp_sink.py" "$MP" "$PARTS_RUN/smtp.jsonl"
  wait_for sink-http 10 port_open "$HP"; wait_for sink-smtp 10 port_open "$MP"
  echo "SINK_HTTP=http://$PARTS_HOST:$HP"; echo "SINK_SMTP=$PARTS_HOST:$MP"
  echo "SINK_HTTP_FILE=$PARTS_RUN/http.jsonl"; echo "SINK_SMTP_FILE=$PARTS_RUN/smtp.jsonl" ;;
down) stop sink-http; stop sink-smtp ;;
reset) stop sink-http; stop sink-smtp; rm -f "$PARTS_RUN/http.jsonl" "$PARTS_RUN/smtp.jsonl" ;;
status) for n in sink-http sink-smtp; do echo "$n pid=$(pid_of $n || echo -) rss_mib=$(rss_mib $n || echo -)"; done ;;
*) sed -n '2,3p' "$0" >&2; exit 2 ;;
esac
