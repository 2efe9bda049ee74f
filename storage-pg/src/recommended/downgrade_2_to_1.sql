-- How many peers each swarm has: without slots, the rows of a swarm joined.
LOCK TABLE mo_peers, mo_swarms IN ACCESS EXCLUSIVE MODE;
DROP TRIGGER mo_peers_came ON mo_peers;
DROP TRIGGER mo_peers_left ON mo_peers;
DROP TRIGGER mo_peers_moved ON mo_peers;
DROP TRIGGER mo_peers_emptied ON mo_peers;
DROP TRIGGER mo_swarms_restored ON mo_swarms;
DROP FUNCTION mo_count_peers(), mo_refuse_counts(), mo_merge_swarms(), mo_count_all_swarms();
ALTER TABLE mo_swarms DROP CONSTRAINT mo_swarms_pkey;
WITH gone AS (DELETE FROM mo_swarms RETURNING info_hash, seeders, leechers)
INSERT INTO mo_swarms (info_hash, slot, seeders, leechers)
SELECT info_hash, 0, sum(seeders), sum(leechers) FROM gone
GROUP BY info_hash HAVING sum(seeders) <> 0 OR sum(leechers) <> 0;
ALTER TABLE mo_swarms DROP COLUMN slot;
CREATE INDEX mo_swarms_info_hash_idx ON mo_swarms (info_hash);

-- The functions and triggers of version 1, which write with the rights of whoever writes mo_peers.
CREATE FUNCTION mo_count_swarm(swarm bytea, more_seeders int8, more_leechers int8)
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
CREATE FUNCTION mo_count_change() RETURNS trigger LANGUAGE plpgsql
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
CREATE FUNCTION mo_count_all_swarms() RETURNS void LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
BEGIN
  LOCK TABLE mo_peers IN SHARE ROW EXCLUSIVE MODE;
  DELETE FROM mo_swarms;
  INSERT INTO mo_swarms (info_hash, seeders, leechers)
  SELECT info_hash, COUNT(1) FILTER (WHERE is_seeder), COUNT(1) FILTER (WHERE NOT is_seeder)
  FROM mo_peers GROUP BY info_hash;
END $$;

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

-- So whoever may write mo_peers must be allowed to write the counts.
DO $$ DECLARE
  writer text;
BEGIN
  FOR writer IN SELECT DISTINCT CASE right_of.grantee WHEN 0 THEN 'PUBLIC' ELSE right_of.grantee::regrole::text END
    FROM pg_class, aclexplode(relacl) AS right_of
    WHERE pg_class.oid = 'mo_peers'::regclass AND right_of.privilege_type = 'INSERT'
  LOOP
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON mo_swarms TO %s', writer);
  END LOOP;
END $$;
