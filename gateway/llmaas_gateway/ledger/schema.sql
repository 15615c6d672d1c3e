-- What was charged, one row a call: append-only, a partition a month, which goes whole when its legal period is over
-- (accounts/removal.sql). Applied by a replica that finds it is not what was applied last (schemas.py); changes nothing
-- that is there.
CREATE SCHEMA IF NOT EXISTS ledger;

CREATE TABLE IF NOT EXISTS ledger.record (
    request_id    text        NOT NULL,
    began_at      timestamptz NOT NULL,
    kind          text        NOT NULL CHECK (kind IN ('settled', 'lapsed')),
    tenant        text        NOT NULL,
    team          text        NOT NULL,
    api_key       text        NOT NULL,  -- the hash that names the key, never the key
    billing       text        NOT NULL CHECK (billing IN ('prepaid', 'monthly')),  -- only the former uses up credit
    model         text        NOT NULL,
    endpoint      text        NOT NULL,
    status        text        NOT NULL,
    counts        jsonb       NOT NULL,  -- units of the price book, each token in exactly one
    price_ids     jsonb       NOT NULL,
    factor        text        NOT NULL,
    nano_eur      bigint      NOT NULL CHECK (nano_eur >= 0),
    unbilled_nano_eur bigint  NOT NULL CHECK (unbilled_nano_eur >= 0),
    output_tokens bigint      NOT NULL CHECK (output_tokens >= 0),
    latency_ms    integer     NOT NULL,
    settled_at    timestamptz NOT NULL,
    late          boolean     NOT NULL,
    PRIMARY KEY (request_id, began_at)
) PARTITION BY RANGE (began_at);

CREATE INDEX IF NOT EXISTS record_tenant_began_at ON ledger.record (tenant, began_at);
CREATE INDEX IF NOT EXISTS record_settled_at ON ledger.record USING brin (settled_at);

-- What the records sum up to, counter by counter, changed in the transaction that inserts them: from here Redis is
-- rebuilt when it has lost its memory.
CREATE TABLE IF NOT EXISTS ledger.counter (
    key        text   PRIMARY KEY,
    settled    bigint NOT NULL,
    expires_at timestamptz  -- null for a window that never ends
);

-- What the records of a month that is long over came to, summed up once (invoices/month_sums.py). A record that comes
-- later all the same takes the month off this list again.
CREATE TABLE IF NOT EXISTS ledger.summed_month (
    first timestamptz PRIMARY KEY,  -- where the month's partition begins
    at    timestamptz               -- null while it is being summed up
);
CREATE TABLE IF NOT EXISTS ledger.month_sum (
    first    timestamptz NOT NULL REFERENCES ledger.summed_month ON DELETE CASCADE,
    tenant   text        NOT NULL,
    team     text        NOT NULL,
    billing  text        NOT NULL,
    nano_eur bigint      NOT NULL,
    PRIMARY KEY (first, tenant, team, billing)
);

CREATE OR REPLACE FUNCTION ledger.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'ledger.record is append-only: % refused', TG_OP;
END $$;

CREATE OR REPLACE TRIGGER record_append_only BEFORE UPDATE OR DELETE ON ledger.record
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();

-- Triggers of rows come to partitions by themselves, those of statements do not; and no row's trigger sees a TRUNCATE.
CREATE OR REPLACE FUNCTION ledger.refuse_truncation_of(name text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    known regclass := format('ledger.%I', name)::regclass;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = known AND tgname = 'record_not_truncated') THEN
        EXECUTE format('CREATE TRIGGER record_not_truncated BEFORE TRUNCATE ON %s
                        FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change()', known);
    END IF;
END $$;

-- Partitions that a version without these triggers made get theirs here.
SELECT ledger.refuse_truncation_of(relname) FROM pg_class
WHERE oid = 'ledger.record'::regclass
   OR oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'ledger.record'::regclass);

-- Makes the partition of a month (UTC) if it is missing.
CREATE OR REPLACE FUNCTION ledger.ensure_month(moment timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    first timestamptz := date_trunc('month', moment, 'UTC');
    name  text := 'record_' || to_char(first AT TIME ZONE 'UTC', 'YYYY_MM');
BEGIN
    IF to_regclass('ledger.' || name) IS NULL THEN
        -- One maker at a time; the others find it made.
        PERFORM pg_advisory_xact_lock(hashtext('ledger.ensure_month'));
        EXECUTE format('CREATE TABLE IF NOT EXISTS ledger.%I PARTITION OF ledger.record FOR VALUES FROM (%L) TO (%L)',
                       name, first, (first AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC');
        PERFORM ledger.refuse_truncation_of(name);
    END IF;
END $$;
