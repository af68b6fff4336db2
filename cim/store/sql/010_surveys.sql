-- When what a load brought was surveyed, by layer and dataset; each version has its date too (`surveyed`). A dataset has
-- none of its own: one layer of it delivered anew says nothing of the others, and what is taken back says nothing at all.
CREATE TABLE IF NOT EXISTS cim.survey (
    load     bigint NOT NULL REFERENCES cim.load (load),
    layer    text NOT NULL,
    dataset  text NOT NULL,
    surveyed date NOT NULL,
    PRIMARY KEY (load, layer, dataset)
);
CREATE INDEX IF NOT EXISTS survey_of_layer ON cim.survey (layer, dataset);
ALTER TABLE cim.asset ADD COLUMN IF NOT EXISTS surveyed date;

-- Of a city from before: a dated delivery's versions begin to hold at midnight of their survey's day, by the city's
-- clock, or by that of UTC where they are older.
DO $$
DECLARE
    layer text;
    clock text := (SELECT coalesce(value->>'timezone', 'UTC') FROM cim.setting WHERE key = 'city');
    dated constant text := format($sql$
        surveyed = (lower(v.valid) AT TIME ZONE zone)::date
        FROM cim.load l, (VALUES (%1$L), ('UTC')) zones(zone)
        WHERE l.load = v.load AND NOT coalesce(l.report ? 'edit', false)
          AND lower(v.valid) = date_trunc('day', lower(v.valid), zone) $sql$, coalesce(clock, 'UTC'));
BEGIN
    IF NOT EXISTS (SELECT FROM information_schema.columns
                   WHERE (table_schema, table_name, column_name) = ('cim', 'dataset', 'surveyed')) THEN
        RETURN;
    END IF;
    FOR layer IN SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'valid'
                 WHERE c.relnamespace = 'twin'::regnamespace AND c.relkind = 'r' AND a.attgenerated = '' LOOP
        EXECUTE format('ALTER TABLE twin.%I ADD COLUMN IF NOT EXISTS surveyed date', layer);
        EXECUTE format('UPDATE twin.%I v SET ', layer) || dated;
        EXECUTE format('INSERT INTO cim.survey SELECT load, %L, dataset, max(surveyed) FROM twin.%I
                        WHERE surveyed IS NOT NULL GROUP BY load, dataset', layer, layer);
    END LOOP;
    EXECUTE 'UPDATE cim.asset v SET ' || dated;
    INSERT INTO cim.survey SELECT a.load, a.layer, a.dataset, max(a.surveyed) FROM cim.asset a
        WHERE a.surveyed IS NOT NULL GROUP BY 1, 2, 3;
    ALTER TABLE cim.dataset DROP COLUMN surveyed;
END $$;
