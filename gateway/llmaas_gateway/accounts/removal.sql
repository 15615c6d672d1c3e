-- What of the accounts goes when its legal period is over, and what stays of it. Applied after the accounts' own tables.

-- What the removed records came to, the balance carried forward: credit and spend are sums over all time.
CREATE TABLE IF NOT EXISTS ledger.carried (
    tenant   text   NOT NULL,
    team     text   NOT NULL,
    billing  text   NOT NULL,
    nano_eur bigint NOT NULL,
    PRIMARY KEY (tenant, team, billing)
);

-- The months that are gone.
CREATE TABLE IF NOT EXISTS ledger.removed_month (
    month    text        PRIMARY KEY,
    until    timestamptz NOT NULL,  -- its end: what began before is gone
    records  bigint      NOT NULL,
    invoices bigint      NOT NULL,
    at       timestamptz NOT NULL
);

CREATE OR REPLACE TRIGGER removed_month_append_only BEFORE UPDATE OR DELETE ON ledger.removed_month
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change_of_accounts();
CREATE OR REPLACE TRIGGER removed_month_not_truncated BEFORE TRUNCATE ON ledger.removed_month
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change_of_accounts();
CREATE OR REPLACE TRIGGER carried_not_truncated BEFORE TRUNCATE ON ledger.carried
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change_of_accounts();

-- The months of ledger.record (UTC) as ledger.ensure_month makes them.
CREATE OR REPLACE VIEW ledger.partition AS
    SELECT name, first, (first AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC' AS after
    FROM (
        SELECT relname::text AS name, to_date(relname, '"record_"YYYY_MM')::timestamp AT TIME ZONE 'UTC' AS first
        FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid WHERE inhparent = 'ledger.record'::regclass
    ) AS made;

CREATE OR REPLACE FUNCTION ledger.end_of_month(month text, zone text) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT ((month || '-01')::timestamp + interval '1 month') AT TIME ZONE zone
$$;

-- An invoice goes within ledger.remove_accounts alone, which says up to when.
CREATE OR REPLACE FUNCTION ledger.refuse_change_of_invoices() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND ledger.end_of_month(OLD.month, OLD.document ->> 'time_zone')
            <= nullif(current_setting('llmaas.accounts_removal', true), '')::timestamptz THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'ledger.invoice is append-only: % refused', TG_OP;
END $$;

CREATE OR REPLACE TRIGGER invoice_append_only BEFORE UPDATE OR DELETE ON ledger.invoice
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change_of_invoices();
CREATE OR REPLACE TRIGGER invoice_not_truncated BEFORE TRUNCATE ON ledger.invoice
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change_of_accounts();

-- Removes the records of calls that began before a moment and the invoices of months that ended by then. Partitions are
-- dropped whole: no row of ledger.record is ever deleted, and nothing but this drops one. A month of the seller's ends
-- within a month of UTC, so the partition in which the moment lies is made anew with the hours that are kept.
CREATE OR REPLACE FUNCTION ledger.remove_accounts(moment timestamptz, OUT records bigint, OUT invoices bigint)
LANGUAGE plpgsql AS $$
DECLARE
    part  ledger.partition;
    going bigint;
BEGIN
    -- As long as a month takes to be closed: whoever calls this cannot remove what is still counted.
    IF moment > now() - interval '2 days' THEN
        RAISE EXCEPTION 'accounts up to % are not closed: nothing is removed', moment;
    END IF;
    records := 0;
    FOR part IN SELECT * FROM ledger.partition WHERE first < moment ORDER BY first LOOP
        -- What is summed up here is what goes: nothing can be added meanwhile.
        EXECUTE format('LOCK TABLE ledger.%I IN SHARE MODE', part.name);
        EXECUTE format('
            WITH going AS (
                SELECT tenant, team, billing, count(*) AS calls, sum(nano_eur)::bigint AS nano_eur
                FROM ledger.%I WHERE began_at < $1 GROUP BY tenant, team, billing
            ), carried AS (
                INSERT INTO ledger.carried AS c (tenant, team, billing, nano_eur)
                SELECT tenant, team, billing, nano_eur FROM going
                ON CONFLICT (tenant, team, billing) DO UPDATE SET nano_eur = c.nano_eur + excluded.nano_eur
            ) SELECT coalesce(sum(calls), 0) FROM going', part.name) INTO going USING moment;
        records := records + going;
        IF part.after <= moment THEN
            EXECUTE format('DROP TABLE ledger.%I', part.name);
        ELSIF going > 0 THEN
            -- With its indexes, so that they are made before everybody else is locked out.
            EXECUTE format('CREATE TABLE ledger.record_kept (LIKE ledger.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS
                            INCLUDING INDEXES)', part.name);
            EXECUTE format('INSERT INTO ledger.record_kept SELECT * FROM ledger.%I WHERE began_at >= $1', part.name)
                USING moment;
            EXECUTE format('DROP TABLE ledger.%I', part.name);
            EXECUTE format('ALTER TABLE ledger.record_kept RENAME TO %I', part.name);
            PERFORM ledger.refuse_truncation_of(part.name);
            -- Triggers of rows come with it; no row is inserted into ledger.record, so the audit notes none twice.
            EXECUTE format('ALTER TABLE ledger.record ATTACH PARTITION ledger.%I FOR VALUES FROM (%L) TO (%L)',
                           part.name, part.first, part.after);
        END IF;
        -- What goes is carried forward; what is left of the month is summed up anew.
        DELETE FROM ledger.summed_month WHERE summed_month.first = part.first;
    END LOOP;
    PERFORM set_config('llmaas.accounts_removal', moment::text, true);
    DELETE FROM ledger.invoice WHERE ledger.end_of_month(month, document ->> 'time_zone') <= moment;
    GET DIAGNOSTICS invoices = ROW_COUNT;
    PERFORM set_config('llmaas.accounts_removal', '', true);
END $$;
