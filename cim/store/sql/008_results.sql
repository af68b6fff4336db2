-- The result of an analysis: a manifest in the job's row, its rows and raster as files named by their content. A shared
-- one is seen by everybody, and is kept until that is taken back.
ALTER TABLE cim.job ADD COLUMN IF NOT EXISTS shared boolean NOT NULL DEFAULT false;
