#!/usr/bin/env bash
# Debian's Prometheus, alerting to any Alertmanager-compatible address (POST /api/v2/alerts).
#   prometheus.sh up|down|reset|status
# PROM_PORT, PROM_ALERTS_TO=host:port, PROM_RULES=file (default: one alert that always fires),
# PROM_TARGETS=host:port,... to scrape, PROM_PREFIX=/path before /api/v2/alerts,
# PROM_TOKEN=bearer token for them, PROM_RESEND=how often a firing alert is sent again, PROM_BIN=another build
# shellcheck source=parts/lib.sh
. "$(dirname "$0")/lib.sh"
PORT=${PROM_PORT:-19090} TO=${PROM_ALERTS_TO:-127.0.0.1:18080} D=$PARTS_RUN/prometheus
install() { # the service file is not wanted, only the program
  [ -n "${PROM_BIN:-}" ] || command -v prometheus >/dev/null || need_apt prometheus prometheus
}
config() {
  local targets=${PROM_TARGETS:-127.0.0.1:$PORT} auth=''
  [ -z "${PROM_TOKEN:-}" ] || auth="authorization: {credentials: '$PROM_TOKEN'}"
  mkdir -p "$D"
  if [ -n "${PROM_RULES:-}" ]; then cp "$PROM_RULES" "$D/rules.yml"; else cat >"$D/rules.yml" <<'R'
groups:
- name: parts
  rules:
  - alert: AlwaysFiring
    expr: vector(1)
    labels: {severity: critical, service: checkout}
    annotations: {summary: "value {{ $value }}", runbook_url: "https://example.org/runbook"}
  - alert: TargetDown
    expr: up == 0
    for: 1s
    labels: {severity: warning}
R
  fi
  cat >"$D/prometheus.yml" <<Y
global: {scrape_interval: 1s, evaluation_interval: 1s, external_labels: {cluster: parts}}
rule_files: [rules.yml]
alerting:
  alertmanagers:
  - path_prefix: ${PROM_PREFIX:-/}
    $auth
    static_configs: [{targets: ['$TO']}]
scrape_configs:
- job_name: parts
  static_configs: [{targets: ['${targets//,/"','"}']}]
Y
}
case ${1:-} in
up) install; config; pid_of prometheus >/dev/null || need_free "$PORT"
  spawn prometheus "${PROM_BIN:-prometheus}" --config.file="$D/prometheus.yml" --storage.tsdb.path="$D/data" \
    --web.listen-address="$PARTS_HOST:$PORT" --rules.alert.resend-delay="${PROM_RESEND:-5s}" --storage.tsdb.min-block-duration=2h
  wait_for prometheus 30 http_ok "http://$PARTS_HOST:$PORT/-/ready"; echo "PROMETHEUS_URL=http://$PARTS_HOST:$PORT" ;;
down) stop prometheus ;;
reset) stop prometheus; rm -rf "$D" ;;
status) echo "prometheus pid=$(pid_of prometheus || echo -) rss_mib=$(rss_mib prometheus || echo -)" ;;
*) sed -n '2,6p' "$0" >&2; exit 2 ;;
esac
