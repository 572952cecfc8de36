#!/usr/bin/env bash
# Spec-driven mocks of the two providers' HTTP APIs: Prism answers from the OpenAPI files and refuses
# (422) a request that breaks them.
#   mocks.sh up|down|status|env
# SPECS (folder with twilio_api_v2010.json, sendgrid_mail_v3.json), TWILIO_PORT, SENDGRID_PORT, PRISM_VERSION
# shellcheck source=parts/lib.sh
. "$(dirname "$0")/lib.sh"
SPECS=${SPECS:-$PARTS_DIR/specs} TP=${TWILIO_PORT:-14010} SP=${SENDGRID_PORT:-14011} V=${PRISM_VERSION:-5.14.2}
DIR=$PARTS_CACHE/prism-$V
install() {
  [ -f "$DIR/.done" ] && return 0
  command -v npm >/dev/null || need_apt npm npm
  say "installing prism $V"; mkdir -p "$DIR"
  npm install --prefix "$DIR" --no-audit --no-fund --loglevel=error "@stoplight/prism-cli@$V" >&2 && touch "$DIR/.done"
}
prepare() { node "$PARTS_DIR/prepare_spec.js" "$SPECS/$1" "$PARTS_RUN/$1"; }
one() { # NAME PORT SPEC
  spawn "$1" node "$DIR/node_modules/@stoplight/prism-cli/dist/index.js" mock --host "$PARTS_HOST" --port "$2" --errors "$PARTS_RUN/$3"
}
env_() { echo "TWILIO_MOCK=http://$PARTS_HOST:$TP"; echo "SENDGRID_MOCK=http://$PARTS_HOST:$SP"; }
case ${1:-} in
up) install; prepare twilio_api_v2010.json; prepare sendgrid_mail_v3.json
  one prism-twilio "$TP" twilio_api_v2010.json; one prism-sendgrid "$SP" sendgrid_mail_v3.json
  wait_for prism-twilio 60 port_open "$TP"; wait_for prism-sendgrid 60 port_open "$SP"; env_ ;;
down) stop prism-twilio; stop prism-sendgrid ;;
status) for n in prism-twilio prism-sendgrid; do echo "$n pid=$(pid_of $n || echo -) rss_mib=$(rss_mib $n || echo -)"; done ;;
env) env_ ;;
*) sed -n '2,5p' "$0" >&2; exit 2 ;;
esac
