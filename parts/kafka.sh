#!/usr/bin/env bash
# Apache Kafka (KRaft) from Maven Central's jars, one node or three. It keeps its data between up and down.
#   kafka.sh install|installed|up|down|kill N|stop N|start N|reset|status|env
# KAFKA_NODES=1 or 3; KAFKA_PORTS=free takes free ports, else node i has KAFKA_PORT+10(i-1), its controller one more, SASL_SSL two
# more; KAFKA_SASL=1 adds that listener (SCRAM-SHA-256 and -512, PLAIN; a throw-away CA); KAFKA_EXTRA=file of further properties;
# KAFKA_NAME tells clusters apart; KAFKA_HEAP, KAFKA_VERSION; KAFKA_JVM="-XX:+UseG1GC" replaces the options that suit tests only.
# shellcheck source=parts/lib.sh
. "$(dirname "$0")/lib.sh"
V=${KAFKA_VERSION:-4.4.0} N=${KAFKA_NODES:-1} PORT=${KAFKA_PORT:-19092} NAME=${KAFKA_NAME:-kafka}
USER_=${KAFKA_USER:-tester} PASS=${KAFKA_PASSWORD:-tester-secret}
LIBS=$PARTS_CACHE/kafka-$V DATA=$PARTS_RUN/$NAME
CLUSTER=partspartspartspartsAA # any 22 letters
# A small heap, and neither a concurrent collector nor an optimizing compiler: enough for tests, not for figures.
read -ra JVM <<<"${KAFKA_JVM:--XX:+UseSerialGC -XX:TieredStopAtLevel=1}"
JOPTS=(-Xms64m "-Xmx${KAFKA_HEAP:-256m}" "${JVM[@]}" -Djava.awt.headless=true
  -Dorg.slf4j.simpleLogger.showDateTime=true -Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS
  -Dorg.slf4j.simpleLogger.showThreadName=false -Dorg.slf4j.simpleLogger.defaultLogLevel=info)

take_ports() { # $DATA/ports has a line a node: plain, controller, SASL_SSL
  [ -s "$DATA/ports" ] && return 0
  mkdir -p "$DATA"
  if [ "${KAFKA_PORTS:-}" = free ]; then
    python3 - "$N" >"$DATA/ports.new" <<'P'
import socket
import sys

held = [[socket.create_server(("127.0.0.1", 0)) for _ in range(3)] for _ in range(int(sys.argv[1]))]
for node in held:
    print(*(listener.getsockname()[1] for listener in node))
P
  else
    local i
    for i in $(seq 0 10 $((10 * (N - 1)))); do echo "$((PORT + i)) $((PORT + i + 1)) $((PORT + i + 2))"; done >"$DATA/ports.new"
  fi
  mv "$DATA/ports.new" "$DATA/ports"
}
port() { sed -n "$1p" "$DATA/ports" | cut -d' ' -f"$2"; } # NODE 1|2|3
nodes() { seq "$N"; }
addresses() { # COLUMN : host:port of every node, by commas
  local i all=''
  for i in $(nodes); do all=$all,$PARTS_HOST:$(port "$i" "$1"); done
  echo "${all#,}"
}

installed() { [ -f "$LIBS/.done" ] && command -v java >/dev/null; }
install() {
  installed && return 0
  need_apt java openjdk-17-jre-headless
  need_apt mvn maven
  local tmp; tmp=$(mktemp -d)
  # Kafka 4 comes without a binding for its log, and without one there is no log.
  cat >"$tmp/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>parts</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$V</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
POM
  say "fetching Kafka $V"
  local try
  for try in 1 2 3; do
    mvn -B -q -f "$tmp/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$LIBS" >&2 && break
    [ "$try" = 3 ] && die "Kafka's jars cannot be fetched"
    sleep $((try * 5))
  done
  rm -f "$LIBS"/slf4j-reload4j-*.jar "$LIBS"/slf4j-log4j12-*.jar "$LIBS"/log4j-slf4j-impl-*.jar
  touch "$LIBS/.done"
  rm -rf "$tmp"
}

certificates() {
  [ -f "$DATA/tls/server.pem" ] && return 0
  mkdir -p "$DATA/tls"
  (
    cd "$DATA/tls"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=parts-ca -keyout ca.key -out ca.crt
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout server.key -out server.csr
    openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out server.crt \
      -extfile <(printf 'subjectAltName=DNS:localhost,IP:127.0.0.1')
    openssl pkcs8 -topk8 -nocrypt -in server.key -out server.pk8
    cat server.pk8 server.crt ca.crt >server.pem
  ) >"$DATA/openssl.log" 2>&1
}

properties() { # NODE
  local copies=1 insync=1 voters='' i listeners
  if [ "$N" -ge 3 ]; then copies=3 insync=2; fi
  for i in $(nodes); do voters=$voters,$i@$PARTS_HOST:$(port "$i" 2); done
  listeners=PLAINTEXT://$PARTS_HOST:$(port "$1" 1)
  if [ "${KAFKA_SASL:-}" = 1 ]; then listeners=$listeners,SASL_SSL://$PARTS_HOST:$(port "$1" 3); fi
  cat <<P
process.roles=broker,controller
node.id=$1
controller.quorum.voters=${voters#,}
controller.listener.names=CONTROLLER
listeners=$listeners,CONTROLLER://$PARTS_HOST:$(port "$1" 2)
advertised.listeners=$listeners
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL
inter.broker.listener.name=PLAINTEXT
log.dirs=$DATA/$1/log
offsets.topic.num.partitions=4
offsets.topic.replication.factor=$copies
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=$copies
transaction.state.log.min.isr=$insync
share.coordinator.state.topic.replication.factor=$copies
share.coordinator.state.topic.min.isr=$insync
default.replication.factor=$copies
min.insync.replicas=$insync
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
auto.create.topics.enable=false
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=16777216
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
P
  if [ "${KAFKA_SASL:-}" = 1 ]; then
    local module=org.apache.kafka.common.security
    cat <<P
sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512,PLAIN
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=$module.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=$module.scram.ScramLoginModule required;
listener.name.sasl_ssl.plain.sasl.jaas.config=$module.plain.PlainLoginModule required user_$USER_="$PASS";
ssl.keystore.type=PEM
ssl.keystore.location=$DATA/tls/server.pem
ssl.client.auth=none
P
  fi
  cat "${KAFKA_EXTRA:-/dev/null}"
}

format() { # NODE
  [ -f "$DATA/$1/log/meta.properties" ] && return 0
  local users=()
  if [ "${KAFKA_SASL:-}" = 1 ]; then
    users=(--add-scram "SCRAM-SHA-256=[name=$USER_,password=$PASS]" --add-scram "SCRAM-SHA-512=[name=$USER_,password=$PASS]")
  fi
  java "${JOPTS[@]}" -cp "$LIBS/*" kafka.tools.StorageTool format -t "$CLUSTER" -c "$DATA/$1/server.properties" "${users[@]}" >"$DATA/$1/format.log" 2>&1 ||
    { tail -n 20 "$DATA/$1/format.log" >&2; die "node $1 cannot be formatted"; }
}

launch() { # NODE
  mkdir -p "$DATA/$1"
  properties "$1" >"$DATA/$1/server.properties"
  format "$1"
  spawn "$NAME-$1" java "${JOPTS[@]}" -cp "$LIBS/*" kafka.Kafka "$DATA/$1/server.properties"
}
started() { grep -q 'Kafka Server started' "$PARTS_RUN/$NAME-$1.log" && port_open "$(port "$1" 1)"; }
ready() { wait_for "$NAME-$1" 90 started "$1"; }

env_() {
  echo "KAFKA_BROKERS=$(addresses 1)"
  if [ "${KAFKA_SASL:-}" = 1 ]; then
    echo "KAFKA_SASL_BROKERS=$(addresses 3)"
    echo "KAFKA_CA_FILE=$DATA/tls/ca.crt"
    echo "KAFKA_USER=$USER_"
    echo "KAFKA_PASSWORD=$PASS"
  fi
}
up() {
  install
  take_ports
  [ "${KAFKA_SASL:-}" != 1 ] || certificates
  local i
  for i in $(nodes); do launch "$i"; done
  for i in $(nodes); do ready "$i"; done
  env_
}
down() { # all at once, or the last one waits for a quorum that is gone
  local i pid
  for i in $(nodes); do
    if pid=$(pid_of "$NAME-$i"); then kill -TERM "$pid" || true; fi
  done
  for i in $(nodes); do stop "$NAME-$i" TERM 20; done
}

case ${1:-} in
install) install ;;
installed) installed ;;
up) up ;;
down) down ;;
kill) stop "$NAME-$2" KILL 5 ;;
stop) stop "$NAME-$2" TERM 20 ;;
start) launch "$2"; ready "$2" ;;
reset) down; rm -rf "$DATA" ;;
status) for i in $(nodes); do echo "$NAME-$i pid=$(pid_of "$NAME-$i" || echo -) rss_mib=$(rss_mib "$NAME-$i" || echo -)"; done ;;
env) env_ ;;
*) sed -n '2,6p' "$0" >&2; exit 2 ;;
esac
