# shellcheck shell=bash disable=SC2034
# Common helpers for the part scripts; source it, do not run it.
#   PARTS_CACHE  what is downloaded or built once and kept between runs
#   PARTS_RUN    data, logs and pid files of the servers now running
set -euo pipefail
PARTS_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PARTS_CACHE=${PARTS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/parts}
PARTS_RUN=${PARTS_RUN:-${TMPDIR:-/tmp}/parts}
PARTS_HOST=${PARTS_HOST:-127.0.0.1}
mkdir -p "$PARTS_CACHE" "$PARTS_RUN"

say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }
die() { say "$*"; exit 1; }

# A pid alone may be reused after a crash, so the process's start time is kept beside it.
_born() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
_zombie() { [ "$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -c1)" = Z ]; }

pid_of() { # NAME -> pid of the live process recorded under NAME, else fails
  local f=$PARTS_RUN/$1.pid pid born
  [ -s "$f" ] || return 1
  read -r pid born <"$f"
  if [ -z "${born:-}" ] || [ "$(_born "$pid")" != "$born" ] || _zombie "$pid"; then return 1; fi
  echo "$pid"
}

spawn() { # NAME COMMAND... : starts it in a session of its own, output to NAME.log
  local name=$1 pid; shift
  if pid_of "$name" >/dev/null; then say "$name already runs (pid $(pid_of "$name"))"; return 0; fi
  setsid "$@" >"$PARTS_RUN/$name.log" 2>&1 </dev/null &
  pid=$!
  sleep 0.05
  echo "$pid $(_born "$pid" || true)" >"$PARTS_RUN/$name.pid"
}

wait_for() { # NAME SECONDS COMMAND... : until COMMAND succeeds; fails at once if NAME has died
  local name=$1 end=$(( $(date +%s) + $2 )); shift 2
  until "$@" >/dev/null 2>&1; do
    if ! pid_of "$name" >/dev/null; then
      tail -n 20 "$PARTS_RUN/$name.log" >&2 || true; die "$name died while starting"
    fi
    if [ "$(date +%s)" -ge "$end" ]; then
      tail -n 20 "$PARTS_RUN/$name.log" >&2 || true; die "$name not ready in time"
    fi
    sleep 0.1
  done
}

port_open() { (exec 3<>"/dev/tcp/${2:-$PARTS_HOST}/$1") 2>/dev/null; }
need_free() { local p; for p in "$@"; do port_open "$p" && die "port $p is taken"; done; return 0; }
http_ok() { curl -fsS -o /dev/null --max-time 2 --noproxy '*' "$1"; }

stop() { # NAME [SIGNAL] [GRACE_SECONDS] : signal, wait, then KILL; only ever the recorded pid
  local name=$1 sig=${2:-TERM} grace=${3:-15} pid end
  if pid=$(pid_of "$name"); then
    kill -s "$sig" "$pid" 2>/dev/null || true
    end=$(( $(date +%s) + grace ))
    while pid_of "$name" >/dev/null; do
      [ "$(date +%s)" -lt "$end" ] || { kill -s KILL "$pid" 2>/dev/null || true; sleep 0.2; break; }
      sleep 0.05
    done
    kill -s KILL -- "-$pid" 2>/dev/null || true # what it forked and left behind: the group that setsid made for it
  fi
  rm -f "$PARTS_RUN/$name.pid"
}

rss_mib() { local pid; pid=$(pid_of "$1") && awk '/VmRSS/{printf "%d\n",$2/1024}' "/proc/$pid/status"; }

need_apt() { # COMMAND PACKAGE... : installs the Debian packages when COMMAND is missing
  local cmd=$1; shift
  command -v "$cmd" >/dev/null && return 0
  say "installing $*"
  apt_install "$@" >"$PARTS_RUN/apt.log" 2>&1 || { tail -n 20 "$PARTS_RUN/apt.log" >&2; die "apt-get failed"; }
}

apt_install() { # PACKAGE... : three tries; only the programs are wanted, so no service of theirs is started
  local guard=/usr/sbin/policy-rc.d made='' try rc=1
  if [ ! -e "$guard" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$guard" && chmod +x "$guard" && made=yes
  fi
  for try in 1 2 3; do
    if apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"; then
      rc=0; break
    fi
    echo "try $try failed"; sleep $((try * 5))
  done
  [ -z "$made" ] || rm -f "$guard"
  return "$rc"
}
