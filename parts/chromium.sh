#!/usr/bin/env bash
# Debian's Chromium, headless, for browser tests and screenshots.
#   chromium.sh up|down|status     up only installs it: each test starts a browser of its own
#   chromium.sh shot URL FILE.png [WIDTH,HEIGHT]
#   chromium.sh flags              the flags a test should start it with, one a line
# shellcheck source=parts/lib.sh
. "$(dirname "$0")/lib.sh"

flags() {
  printf '%s\n' --headless --disable-gpu --disable-quic --no-first-run --no-proxy-server --disable-background-networking \
    --disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars
  [ "$(id -u)" != 0 ] || echo --no-sandbox # the sandbox refuses root
}

install() { need_apt chromium chromium fonts-dejavu-core; }

shot() { # URL FILE SIZE
  local profile args
  profile=$(mktemp -d)
  mapfile -t args < <(flags)
  timeout 60 chromium "${args[@]}" --user-data-dir="$profile" --window-size="$3" --virtual-time-budget=5000 \
    --screenshot="$2" "$1" >"$PARTS_RUN/chromium.log" 2>&1 || die "no screenshot of $1: see $PARTS_RUN/chromium.log"
  rm -rf "$profile"
  [ -s "$2" ]
}

case ${1:-} in
up) install; echo "CHROMIUM=$(command -v chromium)" ;;
down) ;;
status) echo "chromium $(command -v chromium || echo -)" ;;
flags) flags ;;
shot) install; shot "$2" "$3" "${4:-1280,800}" ;;
*) sed -n '2,5p' "$0" >&2; exit 2 ;;
esac
