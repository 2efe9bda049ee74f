-- Tables for tracker-storage. Running this again changes nothing.

-- Who takes part in which swarm; columns in an order that leaves no gaps between them.
CREATE TABLE IF NOT EXISTS mo_peers (
  -- When the peer last announced.
  created timestamptz NOT NULL DEFAULT current_timestamp,
  -- A random number: an announce reads the peers of a swarm in its order, from a random place on.
  sample int4 NOT NULL DEFAULT floor(random() * 2147483648)::int4,
  port int4 NOT NULL,
  is_seeder bool NOT NULL,
  is_v6 bool NOT NULL,
  info_hash bytea NOT NULL,
  peer_id bytea NOT NULL,
  address inet NOT NULL,
  PRIMARY KEY (info_hash, peer_id, address, port)
)
-- Room on each page for the next version of a row: a re-announce then touches no index. Space of
-- peers that left is found sooner than by default.
WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.05);

-- For announces.
CREATE INDEX IF NOT EXISTS mo_peers_announce_idx ON mo_peers (info_hash, is_seeder, is_v6, sample);

-- How many peers each swarm has, so that counting reads a row and not the swarm. The triggers below keep
-- it, whatever writes mo_peers. Changes at the same time make a row each, which the next change joins:
-- the sum counts, and no write waits for another.
CREATE TABLE IF NOT EXISTS mo_swarms (
  info_hash bytea NOT NULL,
  seeders int4 NOT NULL,
  leechers int4 NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX IF NOT EXISTS mo_swarms_info_hash_idx ON mo_swarms (info_hash);

CREATE OR REPLACE FUNCTION mo_count_swarm(swarm bytea, more_seeders int8, more_leechers int8)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  kept tid;
  held record;
BEGIN
  -- Where those fail who change what others have read, only some changes join the rows that are there.
  IF current_setting('transaction_isolation') <> 'read committed' AND random() * 16 >= 1 THEN
    INSERT INTO mo_swarms (info_hash, seeders, leechers) VALUES (swarm, more_seeders, more_leechers);
    RETURN;
  END IF;
  FOR held IN SELECT ctid AS place, seeders, leechers FROM mo_swarms
    WHERE info_hash = swarm FOR UPDATE SKIP LOCKED
  LOOP
    IF kept IS NOT NULL THEN
      DELETE FROM mo_swarms WHERE ctid = kept;
    END IF;
    kept := held.place;
    more_seeders := more_seeders + held.seeders;
    more_leechers := more_leechers + held.leechers;
  END LOOP;
  IF kept IS NULL THEN
    INSERT INTO mo_swarms (info_hash, seeders, leechers) VALUES (swarm, more_seeders, more_leechers);
  ELSIF more_seeders = 0 AND more_leechers = 0 THEN
    DELETE FROM mo_swarms WHERE ctid = kept;
  ELSE
    UPDATE mo_swarms SET seeders = more_seeders, leechers = more_leechers WHERE ctid = kept;
  END IF;
END $$;

-- Found wherever the statement comes from, and by the index even if the table was empty when it was planned.
CREATE OR REPLACE FUNCTION mo_count_change() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
  sign int4 := CASE TG_OP WHEN 'DELETE' THEN -1 ELSE 1 END;
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    DELETE FROM mo_swarms;
  ELSIF TG_OP = 'UPDATE' AND OLD.info_hash = NEW.info_hash THEN
    sign := NEW.is_seeder::int4 - OLD.is_seeder::int4;
    PERFORM mo_count_swarm(NEW.info_hash, sign, -sign);
  ELSIF TG_OP = 'UPDATE' THEN
    PERFORM mo_count_swarm(OLD.info_hash, -OLD.is_seeder::int4, -(NOT OLD.is_seeder)::int4);
    PERFORM mo_count_swarm(NEW.info_hash, NEW.is_seeder::int4, (NOT NEW.is_seeder)::int4);
  ELSE
    PERFORM mo_count_swarm(info_hash,
      sign * COUNT(1) FILTER (WHERE is_seeder), sign * COUNT(1) FILTER (WHERE NOT is_seeder))
    FROM changed GROUP BY info_hash;
  END IF;
  RETURN NULL;
END $$;

-- Counts all swarms anew: `SELECT mo_count_all_swarms()`, after mo_peers was written with its triggers
-- off. Lock: writes of peers wait. Cost: reads the table of peers.
CREATE OR REPLACE FUNCTION mo_count_all_swarms() RETURNS void LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
BEGIN
  LOCK TABLE mo_peers IN SHARE ROW EXCLUSIVE MODE;
  DELETE FROM mo_swarms;
  INSERT INTO mo_swarms (info_hash, seeders, leechers)
  SELECT info_hash, COUNT(1) FILTER (WHERE is_seeder), COUNT(1) FILTER (WHERE NOT is_seeder)
  FROM mo_peers GROUP BY info_hash;
END $$;

DO $$ BEGIN
  -- After a crash both are empty, or neither.
  IF (SELECT relpersistence FROM pg_class WHERE oid = 'mo_peers'::regclass) = 'u' THEN
    ALTER TABLE mo_swarms SET UNLOGGED;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'mo_peers'::regclass AND tgname = 'mo_peers_came') THEN
    CREATE TRIGGER mo_peers_came AFTER INSERT ON mo_peers REFERENCING NEW TABLE AS changed
      FOR EACH STATEMENT EXECUTE FUNCTION mo_count_change();
    CREATE TRIGGER mo_peers_left AFTER DELETE ON mo_peers REFERENCING OLD TABLE AS changed
      FOR EACH STATEMENT EXECUTE FUNCTION mo_count_change();
    -- Not for a re-announce, which changes nothing that is counted.
    CREATE TRIGGER mo_peers_moved AFTER UPDATE ON mo_peers
      FOR EACH ROW WHEN (OLD.is_seeder <> NEW.is_seeder OR OLD.info_hash <> NEW.info_hash)
      EXECUTE FUNCTION mo_count_change();
    CREATE TRIGGER mo_peers_emptied AFTER TRUNCATE ON mo_peers
      FOR EACH STATEMENT EXECUTE FUNCTION mo_count_change();
    PERFORM mo_count_all_swarms();
  END IF;
END $$;

-- How often each torrent was downloaded to the end; outlives the peers.
CREATE TABLE IF NOT EXISTS mo_downloads (
  info_hash bytea PRIMARY KEY NOT NULL,
  downloads int8 NOT NULL DEFAULT 1
);

-- Arbitrary data. Names are bytes, since many are raw info hashes.
CREATE TABLE IF NOT EXISTS mo_kv (
  context varchar NOT NULL,
  name bytea NOT NULL,
  value bytea NOT NULL,
  PRIMARY KEY (context, name)
);

-- What a role for the tracker needs, and no more (put its name in place of tracker):
-- GRANT SELECT, INSERT, UPDATE, DELETE ON mo_peers, mo_swarms, mo_downloads, mo_kv TO tracker;
