-- Who may do what: accounts with hashed keys, an audit row a write. A key is 256 random bits, so that its SHA-256 is
-- enough; nothing that leads back to it is stored.
CREATE TABLE IF NOT EXISTS cim.account (
    name     text PRIMARY KEY,
    role     text NOT NULL CHECK (role IN ('viewer', 'editor', 'admin')),
    key_hash bytea NOT NULL UNIQUE,
    created  timestamptz NOT NULL DEFAULT now()
);

-- The server's role can't read the table, only ask whose a hash is.
CREATE OR REPLACE FUNCTION cim.account_of(hash bytea) RETURNS TABLE (name text, role text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = cim, pg_temp
AS $$ SELECT name, role FROM cim.account WHERE key_hash = hash $$;

CREATE TABLE IF NOT EXISTS cim.audit (
    seq     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    moment  timestamptz NOT NULL DEFAULT clock_timestamp(),
    account text,      -- NULL: the command line
    role    text,
    address text,      -- of the asker
    action  text NOT NULL,
    layer   text,
    id      text,
    load    bigint,
    detail  jsonb
);

-- Moments ahead at which something begins or ends to hold; who follows the city's time looks here, not into tables.
CREATE TABLE IF NOT EXISTS cim.moment (
    layer  text NOT NULL,
    moment timestamptz NOT NULL,
    PRIMARY KEY (layer, moment)
);

-- Whoever follows the outbox is woken when a change is committed.
CREATE OR REPLACE FUNCTION cim.announce_change() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN PERFORM pg_notify('cim_change', ''); RETURN NULL; END $$;
DROP TRIGGER IF EXISTS announce ON cim.outbox;
CREATE TRIGGER announce AFTER INSERT ON cim.outbox FOR EACH STATEMENT EXECUTE FUNCTION cim.announce_change();
CREATE INDEX IF NOT EXISTS outbox_txid ON cim.outbox (txid);
