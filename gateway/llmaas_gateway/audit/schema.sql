-- The audit: streams of chained records, their personal parts, signed statements about them. Applied after
-- the ledger's schema, by a replica that finds it is not what was applied last; changes nothing that is there.
CREATE SCHEMA IF NOT EXISTS audit;

-- One chain each. The row is the chain's end: whoever appends holds it locked, so PostgreSQL gives the order.
CREATE TABLE IF NOT EXISTS audit.stream (
    id          uuid        PRIMARY KEY,
    kind        text        NOT NULL CHECK (kind IN ('acts', 'requests')),
    tenant      text,                   -- empty: the platform's own; NULL: the tenant was erased
    number      bigint      NOT NULL DEFAULT 0,
    hash        text        NOT NULL DEFAULT repeat('0', 64),
    recorded_at timestamptz NOT NULL DEFAULT '-infinity',
    UNIQUE (tenant, kind)
);

CREATE TABLE IF NOT EXISTS audit.record (
    stream      uuid        NOT NULL REFERENCES audit.stream,
    number      bigint      NOT NULL,
    at          text        NOT NULL,   -- as it was hashed
    recorded_at timestamptz NOT NULL,
    body        text        NOT NULL,   -- canonical JSON, as it was hashed
    previous    text        NOT NULL,
    hash        text        NOT NULL,
    PRIMARY KEY (stream, number)
);

-- Time grows with the place in the table: the index of months is a few kilobytes.
CREATE INDEX IF NOT EXISTS record_recorded_at ON audit.record USING brin (recorded_at);

CREATE TABLE IF NOT EXISTS audit.personal (
    stream uuid   NOT NULL,
    number bigint NOT NULL,
    salt   text   NOT NULL,
    fields text   NOT NULL,
    PRIMARY KEY (stream, number)
);

-- Signed heads of streams, and signed removals (by retention or erasure).
CREATE TABLE IF NOT EXISTS audit.head (
    stream    uuid   NOT NULL,
    number    bigint NOT NULL,
    statement text   NOT NULL,
    key       text   NOT NULL,
    signature text   NOT NULL,
    PRIMARY KEY (stream, number)
);

CREATE TABLE IF NOT EXISTS audit.removal (
    stream    uuid   NOT NULL,
    reason    text   NOT NULL CHECK (reason IN ('retention', 'erasure')),
    statement text   NOT NULL,
    key       text   NOT NULL,
    signature text   NOT NULL,
    PRIMARY KEY (stream, reason)
);

-- Requests that are recorded but not chained yet. Filled in the transaction that records them, emptied in the one that
-- chains them.
CREATE TABLE IF NOT EXISTS audit.pending (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    content jsonb NOT NULL
);

CREATE OR REPLACE FUNCTION audit.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('llmaas.audit_removal', true) = 'on' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'audit.% is append-only: % refused', TG_TABLE_NAME, TG_OP;
END $$;

CREATE OR REPLACE FUNCTION audit.note_call() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit.pending (content) VALUES (to_jsonb(NEW));
    RETURN NULL;
END $$;

-- Triggers that are there are left alone: to replace one would lock out writers.
DO $$
DECLARE
    chained text;
BEGIN
    FOREACH chained IN ARRAY ARRAY['record', 'personal', 'head'] LOOP
        IF NOT EXISTS (SELECT FROM pg_trigger
                       WHERE tgname = 'append_only' AND tgrelid = ('audit.' || chained)::regclass) THEN
            EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit.%I
                            FOR EACH ROW EXECUTE FUNCTION audit.refuse_change()', chained);
        END IF;
    END LOOP;
    -- What the ledger recorded before there was an audit is chained too. No row slips in between: making the trigger
    -- locks the table against writers until the end of the transaction.
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'record_audit' AND tgrelid = 'ledger.record'::regclass) THEN
        CREATE TRIGGER record_audit AFTER INSERT ON ledger.record FOR EACH ROW EXECUTE FUNCTION audit.note_call();
        INSERT INTO audit.pending (content) SELECT to_jsonb(r) FROM ledger.record r ORDER BY settled_at;
    END IF;
END $$;

-- How far the check of all chains has come, signed: one row.
CREATE TABLE IF NOT EXISTS audit.watch (
    one       boolean PRIMARY KEY CHECK (one),
    statement text NOT NULL,
    key       text NOT NULL,
    signature text NOT NULL
);
