#!/usr/bin/env bash
# Debian's Alertmanager, sending every group to a webhook: a real peer, a real sender of its webhook format.
#   alertmanager.sh up|down|reset|status
# AM_PORT, AM_WEBHOOK=url, AM_CONFIG=file (replaces the whole configuration)
# shellcheck source=parts/lib.sh
. "$(dirname "$0")/lib.sh"
PORT=${AM_PORT:-19093} D=$PARTS_RUN/alertmanager
case ${1:-} in
up) command -v prometheus-alertmanager >/dev/null || need_apt prometheus-alertmanager prometheus-alertmanager
  mkdir -p "$D"
  if [ -n "${AM_CONFIG:-}" ]; then cp "$AM_CONFIG" "$D/am.yml"; else cat >"$D/am.yml" <<Y
route: {receiver: hook, group_by: [alertname, cluster], group_wait: 1s, group_interval: 2s, repeat_interval: 1h}
receivers:
- name: hook
  webhook_configs: [{url: '${AM_WEBHOOK:-http://127.0.0.1:18080/alertmanager}', send_resolved: true}]
Y
  fi
  pid_of alertmanager >/dev/null || need_free "$PORT"
  spawn alertmanager prometheus-alertmanager --config.file="$D/am.yml" --storage.path="$D/data" \
    --web.listen-address="$PARTS_HOST:$PORT" --cluster.listen-address=
  wait_for alertmanager 30 http_ok "http://$PARTS_HOST:$PORT/-/ready"; echo "ALERTMANAGER_URL=http://$PARTS_HOST:$PORT" ;;
down) stop alertmanager ;;
reset) stop alertmanager; rm -rf "$D" ;;
status) echo "alertmanager pid=$(pid_of alertmanager || echo -) rss_mib=$(rss_mib alertmanager || echo -)" ;;
*) sed -n '2,4p' "$0" >&2; exit 2 ;;
esac
