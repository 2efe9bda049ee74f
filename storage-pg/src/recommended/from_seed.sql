-- Upgrades the tables of MoChi's documentation to those that `tracker-storage schema pg` prints.
-- PostgreSQL 12 or newer. Stop what writes to them, or accept that it waits where a lock says so; give
-- the statements to psql without --single-transaction: those that say CONCURRENTLY refuse to run in one.
-- Running this again changes nothing; the index is built anew.

-- Each re-announce changes `created`; with an index on it, every other index is written too.
-- Lock: none that calls wait for. Cost: none. Garbage collection reads the table instead.
DROP INDEX CONCURRENTLY IF EXISTS mo_peers_created_idx;

-- Room on each page for the next version of a row; space of peers that left is found sooner.
-- Lock: SHARE UPDATE EXCLUSIVE, for a moment. Cost: none; it shows with the rewrite below.
ALTER TABLE mo_peers SET (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.05);

-- A random number for each peer, and times that know their zone. Put the zone of the times that are there
-- in place of UTC: MoChi writes local times.
-- Lock: ACCESS EXCLUSIVE, all calls wait. Cost: the table and its indexes are rewritten once, some
-- seconds per million peers, and take twice the space meanwhile.
DO $$ BEGIN
  IF EXISTS (SELECT FROM information_schema.columns WHERE table_schema = current_schema()
    AND table_name = 'mo_peers' AND column_name = 'created' AND data_type = 'timestamp without time zone')
  THEN
    ALTER TABLE mo_peers
      ADD COLUMN sample int4 NOT NULL DEFAULT floor(random() * 2147483648)::int4,
      ALTER COLUMN created TYPE timestamptz USING created AT TIME ZONE 'UTC',
      ALTER COLUMN created SET DEFAULT current_timestamp;
  END IF;
END $$;

-- The index for announces and counts, now with that number.
-- Lock: none that calls wait for. Cost: reads the table twice, some seconds per million peers.
DROP INDEX CONCURRENTLY IF EXISTS mo_peers_announce_idx;
CREATE INDEX CONCURRENTLY mo_peers_announce_idx ON mo_peers (info_hash, is_seeder, is_v6, sample);

-- Unlogged tables are empty after a crash. For peers that is a choice (take the dashes away to end it:
-- lock ACCESS EXCLUSIVE, cost as the rewrite above), for downloads a loss.
-- ALTER TABLE mo_peers SET LOGGED;
-- ALTER TABLE IF EXISTS mo_swarms SET LOGGED;
-- Lock: ACCESS EXCLUSIVE. Cost: rewrites the table, a second per million torrents; nothing if it is logged.
ALTER TABLE mo_downloads SET LOGGED;

-- Room for more than 2147483647 downloads. Lock: ACCESS EXCLUSIVE. Cost: rewrites the table once.
ALTER TABLE mo_downloads ALTER COLUMN downloads TYPE int8;

-- A value is never absent. Lock: ACCESS EXCLUSIVE, while the table is read. Cost: reads it twice.
UPDATE mo_kv SET value = '' WHERE value IS NULL;
ALTER TABLE mo_kv ALTER COLUMN value SET NOT NULL;

-- Counts of swarms.
-- Lock: ACCESS EXCLUSIVE on the table of peers, all calls wait. Cost: reads it once.
