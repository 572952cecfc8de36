-- 0001_state.sql: the state that one batch or one command changes in one transaction, fenced by part.epoch.
-- Times are unix microseconds (0: none), booleans 0 or 1. Types are PostgreSQL's; see doc.go for what SQLite reads instead.

-- +goose Up
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
INSERT INTO meta (name, value) VALUES ('min_reader', '1');

CREATE TABLE part (
    partition     BIGINT PRIMARY KEY,
    epoch         BIGINT NOT NULL,
    owner         TEXT   NOT NULL,
    next_offset   BIGINT NOT NULL,
    touch_offset  BIGINT NOT NULL,
    seq           BIGINT NOT NULL,
    seen_at       BIGINT NOT NULL,
    next_alert    BIGINT NOT NULL,
    next_incident BIGINT NOT NULL,
    next_major    BIGINT NOT NULL,
    rules         TEXT   NOT NULL,
    fold          BYTEA,
    gen           BIGINT NOT NULL,
    claimed_at    BIGINT NOT NULL,
    last_writer   BIGINT NOT NULL,
    last_seq      BIGINT NOT NULL
);

-- Who works on this state: a row a process, renewed while it lives.
CREATE TABLE node (
    id         BIGINT PRIMARY KEY,
    name       TEXT   NOT NULL,
    address    TEXT   NOT NULL,
    version    TEXT   NOT NULL,
    started_at BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL,
    ended_at   BIGINT NOT NULL,
    detail     TEXT   NOT NULL
);

CREATE TABLE change (
    partition    BIGINT NOT NULL,
    seq          BIGINT NOT NULL,
    after_offset BIGINT NOT NULL,
    at           BIGINT NOT NULL,
    actor        TEXT   NOT NULL,
    kind         TEXT   NOT NULL,
    command      BIGINT NOT NULL,
    incident     BIGINT NOT NULL,
    major        BIGINT NOT NULL,
    data         TEXT   NOT NULL,
    PRIMARY KEY (partition, seq)
);
CREATE INDEX change_command  ON change (partition, seq) WHERE command = 1;
CREATE INDEX change_incident ON change (incident, seq) WHERE incident > 0;
CREATE INDEX change_major    ON change (major, seq) WHERE major > 0;
CREATE INDEX change_at       ON change (at);

-- What is read often stands before what is long.
CREATE TABLE alert (
    id          BIGINT PRIMARY KEY,
    partition   BIGINT NOT NULL,
    status      BIGINT NOT NULL,
    incident    BIGINT NOT NULL,
    severity    BIGINT NOT NULL,
    fingerprint BYTEA  NOT NULL,
    source      TEXT   NOT NULL,
    service     TEXT   NOT NULL,
    host        TEXT   NOT NULL,
    alertname   TEXT   NOT NULL,
    starts_at   BIGINT NOT NULL,
    first_at    BIGINT NOT NULL,
    last_at     BIGINT NOT NULL,
    ends_at     BIGINT NOT NULL,
    count       BIGINT NOT NULL,
    as_of       BIGINT NOT NULL,
    rule        TEXT   NOT NULL,
    grp         TEXT   NOT NULL,
    labels      TEXT   NOT NULL,
    key         TEXT   NOT NULL,
    word        TEXT   NOT NULL,
    summary     TEXT   NOT NULL,
    about       TEXT   NOT NULL,
    url         TEXT   NOT NULL,
    annotations TEXT   NOT NULL,
    why         TEXT   NOT NULL,
    joined      TEXT   NOT NULL,
    content     BIGINT NOT NULL
);
CREATE INDEX alert_firing    ON alert (status, id, partition) WHERE status = 1;
CREATE INDEX alert_incident  ON alert (incident);
-- Only a source has so many resolved alerts that its index must tell them apart; in the others the status would cost more, at
-- each resolve, than it saves.
CREATE INDEX alert_service   ON alert (service) WHERE service <> '';
CREATE INDEX alert_host      ON alert (host) WHERE host <> '';
CREATE INDEX alert_alertname ON alert (alertname) WHERE alertname <> '';
CREATE INDEX alert_source    ON alert (source, status);

-- What repeats changed, packed: chunk is alert.id >> 10. The format stands at store/touches.go.
CREATE TABLE touch (
    partition BIGINT NOT NULL,
    chunk     BIGINT NOT NULL,
    data      BYTEA  NOT NULL,
    PRIMARY KEY (partition, chunk)
);

CREATE TABLE incident (
    id          BIGINT PRIMARY KEY,
    partition   BIGINT NOT NULL,
    state       BIGINT NOT NULL,
    major       BIGINT NOT NULL,
    severity    BIGINT NOT NULL,
    priority    BIGINT NOT NULL,
    urgency     BIGINT NOT NULL,
    code        BIGINT NOT NULL,
    opened_at   BIGINT NOT NULL,
    newest_at   BIGINT NOT NULL,
    page_at     BIGINT NOT NULL,
    paged       BIGINT NOT NULL,
    acked_at    BIGINT NOT NULL,
    acked_by    TEXT   NOT NULL,
    resolved_at BIGINT NOT NULL,
    resolved_by TEXT   NOT NULL,
    open_alerts BIGINT NOT NULL,
    alerts      BIGINT NOT NULL,
    reopened    BIGINT NOT NULL,
    title       TEXT   NOT NULL,
    rule        TEXT   NOT NULL,
    key         TEXT   NOT NULL,
    grp         TEXT   NOT NULL,
    labels      TEXT   NOT NULL,
    service     TEXT   NOT NULL,
    escalation  TEXT   NOT NULL,
    team        TEXT   NOT NULL
);
CREATE INDEX incident_state    ON incident (state, id);
CREATE INDEX incident_resolved ON incident (resolved_at) WHERE resolved_at > 0;
CREATE INDEX incident_code     ON incident (code) WHERE code > 0;
CREATE INDEX incident_service  ON incident (service) WHERE service <> '';
CREATE INDEX incident_major    ON incident (major) WHERE major > 0;

CREATE TABLE major (
    id              BIGINT PRIMARY KEY,
    partition       BIGINT NOT NULL,
    state           BIGINT NOT NULL,
    phase           TEXT   NOT NULL,
    title           TEXT   NOT NULL,
    rule            TEXT   NOT NULL,
    scope           TEXT   NOT NULL,
    priority        BIGINT NOT NULL,
    escalation      TEXT   NOT NULL,
    action          TEXT   NOT NULL,
    on_timeout      TEXT   NOT NULL,
    decide_after_us BIGINT NOT NULL,
    code            BIGINT NOT NULL,
    measures        TEXT   NOT NULL,
    peak            TEXT   NOT NULL,
    limits          TEXT   NOT NULL,
    incidents       TEXT   NOT NULL,
    proposed_at     BIGINT NOT NULL,
    decide_by       BIGINT NOT NULL,
    escalated       BIGINT NOT NULL,
    decided_at      BIGINT NOT NULL,
    decided_by      TEXT   NOT NULL,
    resolved_at     BIGINT NOT NULL,
    led_by          TEXT   NOT NULL
);
CREATE INDEX major_state ON major (state, id);
CREATE INDEX major_code  ON major (code) WHERE code > 0;

CREATE TABLE ruleset (
    hash TEXT PRIMARY KEY,
    body BYTEA NOT NULL
);

CREATE TABLE page (
    id          TEXT PRIMARY KEY,
    partition   BIGINT NOT NULL,
    kind        TEXT   NOT NULL,
    incident    BIGINT NOT NULL,
    major       BIGINT NOT NULL,
    person      TEXT   NOT NULL,
    channel     TEXT   NOT NULL,
    address     TEXT   NOT NULL,
    provider    TEXT   NOT NULL,
    provider_id TEXT   NOT NULL,
    state       BIGINT NOT NULL,
    lane        BIGINT NOT NULL,
    round       BIGINT NOT NULL,
    step        BIGINT NOT NULL,
    text        TEXT   NOT NULL,
    due_at      BIGINT NOT NULL,
    expires     BIGINT NOT NULL,
    claimed_to  BIGINT NOT NULL,
    token       BIGINT NOT NULL,
    node        BIGINT NOT NULL,
    attempts    BIGINT NOT NULL,
    tried       TEXT   NOT NULL,
    sent_at     BIGINT NOT NULL,
    ended_at    BIGINT NOT NULL,
    error       TEXT   NOT NULL,
    body        TEXT   NOT NULL,
    message     TEXT   NOT NULL
);
CREATE INDEX page_due      ON page (channel, lane, due_at) WHERE state = 1;
CREATE INDEX page_claimed  ON page (claimed_to, channel) WHERE state IN (2, 3);
CREATE INDEX page_incident ON page (incident) WHERE incident > 0;
CREATE INDEX page_major    ON page (major) WHERE major > 0;
CREATE INDEX page_person   ON page (person, due_at);
CREATE INDEX page_at       ON page (due_at);
CREATE INDEX page_provider ON page (provider_id) WHERE provider_id <> '';
CREATE INDEX page_message  ON page (message) WHERE message <> '';

-- Numbers that nothing is sent to any more by a channel: their owner said STOP there, or a provider knows that they did.
CREATE TABLE contact_off (
    channel TEXT   NOT NULL,
    address TEXT   NOT NULL,
    since   BIGINT NOT NULL,
    why     TEXT   NOT NULL,
    PRIMARY KEY (channel, address)
);

CREATE TABLE timer (
    id        BIGINT PRIMARY KEY,
    partition BIGINT NOT NULL,
    kind      TEXT   NOT NULL,
    incident  BIGINT NOT NULL,
    major     BIGINT NOT NULL,
    due_at    BIGINT NOT NULL,
    round     BIGINT NOT NULL,
    step      BIGINT NOT NULL,
    data      TEXT   NOT NULL
);
CREATE INDEX timer_due      ON timer (due_at);
CREATE INDEX timer_incident ON timer (incident) WHERE incident > 0;
CREATE INDEX timer_major    ON timer (major) WHERE major > 0;

-- What the sandbox provider would have sent, for the console's outbox.
CREATE TABLE sandbox (
    id        BIGINT PRIMARY KEY,
    page      TEXT   NOT NULL,
    channel   TEXT   NOT NULL,
    recipient TEXT   NOT NULL,
    person    TEXT   NOT NULL,
    subject   TEXT   NOT NULL,
    text      TEXT   NOT NULL,
    link      TEXT   NOT NULL,
    at        BIGINT NOT NULL,
    answered  BIGINT NOT NULL
);

-- Records of the journal that could not be applied, where the journal has no place of its own for them; position is the offset.
CREATE TABLE dead_letter (
    partition BIGINT NOT NULL,
    position  BIGINT NOT NULL,
    at        BIGINT NOT NULL,
    reason    TEXT   NOT NULL,
    payload   BYTEA  NOT NULL,
    tries     BIGINT NOT NULL,
    PRIMARY KEY (partition, position)
);

-- Messages of people that were acted on: a provider's repeat of one must not act twice.
CREATE TABLE inbound (
    provider TEXT   NOT NULL,
    message  TEXT   NOT NULL,
    at       BIGINT NOT NULL,
    PRIMARY KEY (provider, message)
);
CREATE INDEX inbound_at ON inbound (at);

-- Only hashes of links and sessions: who reads a backup can log in with neither.
CREATE TABLE login_link (
    hash    TEXT PRIMARY KEY,
    person  TEXT   NOT NULL,
    expires BIGINT NOT NULL
);
CREATE TABLE login_session (
    hash    TEXT PRIMARY KEY,
    person  TEXT   NOT NULL,
    since   BIGINT NOT NULL,
    expires BIGINT NOT NULL
);
