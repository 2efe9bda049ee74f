-- Downgrades the tables that `tracker-storage schema pg --from seed` made to those of MoChi's documentation.
-- PostgreSQL 12 or newer. First let every node run its former configuration: the queries for the recommended tables
-- need what this removes. Give the statements to psql without --single-transaction.

-- The indexes as they were. Lock: none that calls wait for. Cost: reads the table four times, some seconds per million
-- peers.
CREATE INDEX CONCURRENTLY IF NOT EXISTS mo_peers_created_idx ON mo_peers (created);
CREATE INDEX CONCURRENTLY IF NOT EXISTS mo_peers_announce_seed_idx ON mo_peers (info_hash, is_seeder, is_v6);

-- Without counts. Lock: ACCESS EXCLUSIVE, for a moment. Cost: none.
BEGIN ISOLATION LEVEL READ COMMITTED;
SET LOCAL lock_timeout = '3s';
LOCK TABLE mo_peers IN ACCESS EXCLUSIVE MODE;
DROP TRIGGER IF EXISTS mo_peers_came ON mo_peers;
DROP TRIGGER IF EXISTS mo_peers_left ON mo_peers;
DROP TRIGGER IF EXISTS mo_peers_moved ON mo_peers;
DROP TRIGGER IF EXISTS mo_peers_emptied ON mo_peers;
DROP TABLE IF EXISTS mo_swarms;
DROP FUNCTION IF EXISTS mo_count_peers(), mo_refuse_counts(), mo_merge_swarms(), mo_count_all_swarms();
ALTER TABLE mo_peers DROP COLUMN IF EXISTS sample;
ALTER INDEX IF EXISTS mo_peers_announce_seed_idx RENAME TO mo_peers_announce_idx;
ALTER TABLE mo_kv ALTER COLUMN value DROP NOT NULL;
ALTER TABLE mo_peers RESET (fillfactor, autovacuum_vacuum_scale_factor);
COMMENT ON TABLE mo_peers IS NULL;
COMMIT;

-- Times without a zone. Put the zone of MoChi's hosts in place of UTC: MoChi writes local times.
-- Lock: ACCESS EXCLUSIVE, all calls wait. Cost: the table and its indexes are rewritten once, some seconds per
-- million peers, and take twice the space meanwhile.
ALTER TABLE mo_peers
  ALTER COLUMN created TYPE timestamp USING created AT TIME ZONE 'UTC',
  ALTER COLUMN created SET DEFAULT current_timestamp;

-- mo_downloads stays logged and keeps its int8, which serve MoChi as well.
