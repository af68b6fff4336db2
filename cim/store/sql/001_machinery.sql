-- What every city has, whatever its layers: loads, datasets, bodies, assets, the outbox, tile roots.
-- Applied by `cim init`, in order of file number; every statement may run again.
CREATE SCHEMA IF NOT EXISTS cim;
CREATE SCHEMA IF NOT EXISTS twin;

CREATE TABLE IF NOT EXISTS cim.setting (
    key   text PRIMARY KEY,
    value jsonb NOT NULL
);

-- One row a call of `cim ingest`: what was read, from where, with which outcome.
CREATE TABLE IF NOT EXISTS cim.load (
    load     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    started  timestamptz NOT NULL DEFAULT now(),
    report   jsonb
);

-- A dataset as people speak of it.
CREATE TABLE IF NOT EXISTS cim.dataset (
    name     text PRIMARY KEY,
    licence  text,
    source   text
);

-- A 3D body by the hash of its content, written once however many versions share it. `faces` is laid out as
-- cim.geometry.stored_form documents: little-endian, vertices float64 in the city's CRS.
CREATE TABLE IF NOT EXISTS cim.body (
    hash    bytea PRIMARY KEY,
    closed  boolean NOT NULL,
    z_min   float8 NOT NULL,
    z_max   float8 NOT NULL,
    volume  float8,
    faces   bytea NOT NULL
);
ALTER TABLE cim.body ALTER COLUMN faces SET STORAGE EXTERNAL; -- compressing half a kilobyte costs more than it saves

-- Big things by content: the file lies in the asset store under its hash.
CREATE TABLE IF NOT EXISTS cim.asset (
    fid      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    layer    text NOT NULL,
    id       text NOT NULL,
    sha256   text NOT NULL,
    footprint geometry NOT NULL, -- in the city's CRS
    about    jsonb NOT NULL,     -- resolution, no-data value, source CRS
    valid    tstzrange NOT NULL,
    recorded tstzrange NOT NULL DEFAULT tstzrange(now(), NULL),
    dataset  text NOT NULL,
    load     bigint NOT NULL REFERENCES cim.load
);
CREATE UNIQUE INDEX IF NOT EXISTS asset_current
    ON cim.asset (layer, id) WHERE upper_inf(recorded) AND upper_inf(valid);

-- Every change, for whoever follows: incremental tiling, notifications, caches. A reader takes only what is below
-- pg_snapshot_xmin(pg_current_snapshot()): the order of `seq` isn't the order of commits.
CREATE TABLE IF NOT EXISTS cim.outbox (
    seq      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    layer    text NOT NULL,
    id       text NOT NULL,
    old_box  box2d,
    new_box  box2d,
    txid     xid8 NOT NULL DEFAULT pg_current_xact_id()
);

-- The only mutable thing of a tileset: which root answers for a stretch of city time.
CREATE TABLE IF NOT EXISTS cim.tile_root (
    layer text NOT NULL,
    valid tstzrange NOT NULL,
    name  text NOT NULL,
    built timestamptz NOT NULL DEFAULT now(),
    EXCLUDE USING gist (layer WITH =, valid WITH &&)
);

-- What a tile's inputs gave: fingerprint → name in the store and what its parent must know.
CREATE TABLE IF NOT EXISTS cim.tile (
    fingerprint bytea PRIMARY KEY,
    name        text NOT NULL,
    about       jsonb NOT NULL
);
