-- Tenants, their tiers and their credit: the truth. Applied after the ledger's own tables, by
-- a replica that finds it is not what was applied last; changes nothing that is there.
CREATE SCHEMA IF NOT EXISTS ledger;

CREATE OR REPLACE FUNCTION ledger.refuse_change_of_accounts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%.% is append-only: % refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP;
END $$;

CREATE TABLE IF NOT EXISTS ledger.tenant (
    tenant     text PRIMARY KEY CHECK (tenant ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    name       text UNIQUE CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9 ._-]{0,62}$'),
    tier       text   NOT NULL,
    state      text   NOT NULL CHECK (state IN ('active', 'suspended', 'erased')),
    revision   bigint NOT NULL,
    created_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    -- The name is the only personal data here: it is gone exactly when the tenant is erased.
    CHECK ((name IS NULL) = (state = 'erased'))
);

-- What was paid in advance, and which of it was taken back; the credit is the sum. A reference names each once for ever.
CREATE TABLE IF NOT EXISTS ledger.top_up (
    tenant    text   NOT NULL REFERENCES ledger.tenant,
    reference text   NOT NULL CHECK (reference ~ '^[A-Za-z0-9][A-Za-z0-9._/-]{0,63}$'),
    nano_eur  bigint NOT NULL,
    at        timestamptz NOT NULL,
    PRIMARY KEY (tenant, reference)
);

-- Every state a tenant was in, so that a past month can be explained.
CREATE TABLE IF NOT EXISTS ledger.tenant_history (
    tenant   text   NOT NULL REFERENCES ledger.tenant,
    revision bigint NOT NULL,
    act      text   NOT NULL,
    tier     text   NOT NULL,
    state    text   NOT NULL,
    at       timestamptz NOT NULL,
    PRIMARY KEY (tenant, revision)
);

-- The most it may spend in a calendar month, where that is less than its tier allows.
ALTER TABLE ledger.tenant ADD COLUMN IF NOT EXISTS budget_nano_eur bigint
    CHECK (budget_nano_eur BETWEEN 0 AND 9007199254740992);
ALTER TABLE ledger.tenant_history ADD COLUMN IF NOT EXISTS budget_nano_eur bigint;

-- A payment that was booked by mistake, or that a bank took back, has a row of the same amount below zero, once. It is a
-- payment like any other for a gateway from before there were any: such a one sums as this one does.
ALTER TABLE ledger.top_up ADD COLUMN IF NOT EXISTS takes_back text;
ALTER TABLE ledger.top_up DROP CONSTRAINT IF EXISTS top_up_nano_eur_check, DROP CONSTRAINT IF EXISTS top_up_amount,
    ADD CONSTRAINT top_up_amount CHECK (
        CASE WHEN takes_back IS NULL THEN nano_eur BETWEEN 1 AND 9007199254740992
             ELSE nano_eur BETWEEN -9007199254740992 AND -1 END),
    DROP CONSTRAINT IF EXISTS top_up_taken_back,
    ADD CONSTRAINT top_up_taken_back FOREIGN KEY (tenant, takes_back) REFERENCES ledger.top_up (tenant, reference);
CREATE UNIQUE INDEX IF NOT EXISTS top_up_taken_back_once ON ledger.top_up (tenant, takes_back);

CREATE OR REPLACE TRIGGER top_up_append_only BEFORE UPDATE OR DELETE ON ledger.top_up
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change_of_accounts();
CREATE OR REPLACE TRIGGER tenant_history_append_only BEFORE UPDATE OR DELETE ON ledger.tenant_history
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change_of_accounts();
CREATE OR REPLACE TRIGGER top_up_not_truncated BEFORE TRUNCATE ON ledger.top_up
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change_of_accounts();
CREATE OR REPLACE TRIGGER tenant_history_not_truncated BEFORE TRUNCATE ON ledger.tenant_history
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change_of_accounts();

CREATE OR REPLACE VIEW ledger.account AS
    SELECT t.tenant, t.name, t.tier, t.state, t.revision, t.created_at, t.changed_at,
           coalesce((SELECT sum(nano_eur) FROM ledger.top_up u WHERE u.tenant = t.tenant), 0)::bigint AS credit_nano_eur
    FROM ledger.tenant t;

-- Beside it, so that a gateway from before there were budgets can start again: it makes its own view anew.
CREATE OR REPLACE VIEW ledger.tenant_account AS
    SELECT a.tenant, a.name, a.tier, a.state, a.revision, a.created_at, a.changed_at, a.credit_nano_eur, t.budget_nano_eur
    FROM ledger.account a JOIN ledger.tenant t USING (tenant);

-- LiteLLM's teams of a tenant; the first has the tenant's own identifier. Their names stand in LiteLLM only.
CREATE TABLE IF NOT EXISTS ledger.team (
    team    text PRIMARY KEY,
    tenant  text NOT NULL REFERENCES ledger.tenant,
    made_at timestamptz NOT NULL
);

-- Invoices as they were issued. A document names no one but by the tenant's identifier. What keeps them from changing, and
-- what removes them in the end, stands in removal.sql.
CREATE TABLE IF NOT EXISTS ledger.invoice (
    tenant         text   NOT NULL REFERENCES ledger.tenant,
    month          text   NOT NULL CHECK (month ~ '^20[0-9]{2}-(0[1-9]|1[0-2])$'),
    document       jsonb  NOT NULL,
    total_nano_eur bigint NOT NULL,
    records_sha256 text   NOT NULL,
    issued_at      timestamptz NOT NULL,
    PRIMARY KEY (tenant, month)
);

-- What the comparison of each night found.
CREATE TABLE IF NOT EXISTS ledger.reconciliation (
    night    date PRIMARY KEY,
    at       timestamptz NOT NULL,
    compared jsonb NOT NULL,
    findings jsonb NOT NULL
);
