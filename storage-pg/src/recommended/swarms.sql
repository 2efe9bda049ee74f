-- The number of peers in each swarm, so that counting reads a few rows instead of the whole swarm. The triggers below
-- maintain it, whatever writes mo_peers. The counts of a swarm are the sum of its rows: each transaction updates the
-- rows of a slot that no other transaction uses at that time, so that none waits for another. Transactions that find no
-- free slot (above READ COMMITTED, always) insert rows of their own, with a slot from 64 on. mo_merge_swarms() merges
-- these, and deletes rows that add up to zero.
CREATE TABLE IF NOT EXISTS mo_swarms (
  info_hash bytea NOT NULL,
  slot int4 NOT NULL DEFAULT 64 + floor(random() * 2147483584)::int4,
  seeders int4 NOT NULL,
  leechers int4 NOT NULL,
  PRIMARY KEY (info_hash, slot)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

-- Tables of version 1 have no slots. Their counts remain correct and are kept.
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM information_schema.columns WHERE table_schema = current_schema()
    AND table_name = 'mo_swarms' AND column_name = 'slot')
  THEN
    LOCK TABLE mo_peers, mo_swarms IN ACCESS EXCLUSIVE MODE;
    PERFORM set_config('mo.is_counted', EXISTS (SELECT FROM pg_trigger
      WHERE tgrelid = 'mo_peers'::regclass AND tgname = 'mo_peers_came')::text, true);
    ALTER TABLE mo_swarms
      ADD COLUMN slot int4 NOT NULL DEFAULT 64 + floor(random() * 2147483584)::int4,
      ADD PRIMARY KEY (info_hash, slot);
    DROP INDEX IF EXISTS mo_swarms_info_hash_idx;
  END IF;
END $$;

-- The functions write with the rights of the role that creates them, whoever writes mo_peers. Create them as the owner
-- of the tables: a role that cannot log in and is no superuser.
DO $do$ BEGIN
  EXECUTE format($format$

-- Updates the counts after a statement. Uses the index even if the table was empty when the statement was planned.
CREATE OR REPLACE FUNCTION mo_count_peers() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  place int4 := 0;
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    -- Rows that are being joined would be left.
    LOCK TABLE %1$s.mo_swarms IN EXCLUSIVE MODE;
    DELETE FROM %1$s.mo_swarms;
    RETURN NULL;
  END IF;
  -- Most statements are re-announces, which change nothing that is counted: rows come in the order in which they went.
  IF TG_OP = 'INSERT' THEN
    IF NOT EXISTS (SELECT FROM came) THEN
      RETURN NULL;
    END IF;
  ELSIF TG_OP = 'UPDATE' THEN
    IF (SELECT (array_agg(info_hash), array_agg(is_seeder)) FROM went)
      IS NOT DISTINCT FROM (SELECT (array_agg(info_hash), array_agg(is_seeder)) FROM came)
    THEN
      RETURN NULL;
    END IF;
  END IF;
  -- Where those fail who change what others changed meanwhile, each has rows of its own.
  IF current_setting('transaction_isolation') = 'read committed' THEN
    WHILE place < 64 AND NOT pg_try_advisory_xact_lock(%2$s, place) LOOP
      place := place + 1;
    END LOOP;
  ELSE
    place := 64;
  END IF;
  IF place = 64 THEN
    place := 64 + floor(random() * 2147483584)::int4;
  END IF;
  IF TG_OP = 'INSERT' THEN
    INSERT INTO %1$s.mo_swarms AS s (info_hash, slot, seeders, leechers)
    SELECT info_hash, place, count(1) FILTER (WHERE is_seeder), count(1) FILTER (WHERE NOT is_seeder)
    FROM came GROUP BY info_hash
    ON CONFLICT (info_hash, slot) DO UPDATE
    SET seeders = s.seeders + EXCLUDED.seeders, leechers = s.leechers + EXCLUDED.leechers;
  ELSIF TG_OP = 'DELETE' THEN
    INSERT INTO %1$s.mo_swarms AS s (info_hash, slot, seeders, leechers)
    SELECT info_hash, place, -count(1) FILTER (WHERE is_seeder), -count(1) FILTER (WHERE NOT is_seeder)
    FROM went GROUP BY info_hash
    ON CONFLICT (info_hash, slot) DO UPDATE
    SET seeders = s.seeders + EXCLUDED.seeders, leechers = s.leechers + EXCLUDED.leechers;
    DELETE FROM %1$s.mo_swarms AS s USING (SELECT DISTINCT info_hash FROM went) AS left_by
    WHERE s.info_hash = left_by.info_hash AND s.slot = place AND s.seeders = 0 AND s.leechers = 0;
  ELSE
    INSERT INTO %1$s.mo_swarms AS s (info_hash, slot, seeders, leechers)
    SELECT info_hash, place, sum(seeders), sum(leechers) FROM (
      SELECT info_hash, is_seeder::int4 AS seeders, (NOT is_seeder)::int4 AS leechers FROM came
      UNION ALL SELECT info_hash, -is_seeder::int4, -(NOT is_seeder)::int4 FROM went) AS changes
    GROUP BY info_hash HAVING sum(seeders) <> 0 OR sum(leechers) <> 0
    ON CONFLICT (info_hash, slot) DO UPDATE
    SET seeders = s.seeders + EXCLUDED.seeders, leechers = s.leechers + EXCLUDED.leechers;
  END IF;
  RETURN NULL;
END $$;

-- Merges the rows of each swarm, so that few are left to add up, and none of swarms without peers. Run it after each
-- garbage collection. Lock: none that calls wait for. Cost: reads mo_swarms.
CREATE OR REPLACE FUNCTION mo_merge_swarms() RETURNS int8 LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  held int4[];
  merged int8;
BEGIN
  -- Who finds none free meanwhile has rows of its own, which the next run joins.
  SELECT array_agg(place) INTO held FROM generate_series(0, 63) AS place
  WHERE pg_try_advisory_xact_lock(%2$s, place);
  IF held IS NULL THEN
    RETURN 0;
  END IF;
  PERFORM set_config('mo.counting', 'on', true);
  -- The next statement sees what those have written who had them before.
  WITH ours AS MATERIALIZED (
    SELECT info_hash FROM %1$s.mo_swarms WHERE slot = ANY(held) OR slot >= 64
    GROUP BY info_hash HAVING count(1) > 1 OR max(slot) >= 64 OR (sum(seeders) = 0 AND sum(leechers) = 0)),
  rows AS MATERIALIZED (
    SELECT s.ctid FROM ours JOIN %1$s.mo_swarms AS s ON s.info_hash = ours.info_hash
    WHERE s.slot = ANY(held) OR s.slot >= 64 FOR UPDATE OF s SKIP LOCKED),
  gone AS (
    DELETE FROM %1$s.mo_swarms WHERE ctid = ANY(ARRAY(SELECT ctid FROM rows))
    RETURNING info_hash, seeders, leechers)
  INSERT INTO %1$s.mo_swarms (info_hash, slot, seeders, leechers)
  SELECT info_hash, held[1], sum(seeders), sum(leechers) FROM gone
  GROUP BY info_hash HAVING sum(seeders) <> 0 OR sum(leechers) <> 0;
  GET DIAGNOSTICS merged = ROW_COUNT;
  PERFORM set_config('mo.counting', '', true);
  RETURN merged;
END $$;

-- Recounts all swarms. Run `SELECT mo_count_all_swarms()` after mo_peers was written with its triggers disabled.
-- Lock: writes of peers wait. Cost: reads the table of peers.
CREATE OR REPLACE FUNCTION mo_count_all_swarms() RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  LOCK TABLE %1$s.mo_peers IN SHARE ROW EXCLUSIVE MODE;
  -- Rows that are being joined would be counted twice.
  LOCK TABLE %1$s.mo_swarms IN EXCLUSIVE MODE;
  PERFORM set_config('mo.counting', 'on', true);
  DELETE FROM %1$s.mo_swarms;
  INSERT INTO %1$s.mo_swarms (info_hash, slot, seeders, leechers)
  SELECT info_hash, 0, count(1) FILTER (WHERE is_seeder), count(1) FILTER (WHERE NOT is_seeder)
  FROM %1$s.mo_peers GROUP BY info_hash;
  PERFORM set_config('mo.counting', '', true);
END $$;

-- Ignores rows from a restored dump: its peers are counted as they are inserted.
CREATE OR REPLACE FUNCTION mo_refuse_counts() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN NULL;
END $$;

REVOKE EXECUTE ON FUNCTION mo_count_peers(), mo_refuse_counts(), mo_count_all_swarms() FROM PUBLIC;

  $format$, quote_ident(current_schema()), hashtext(current_schema() || '.mo_swarms'));
END $do$;

DO $$ BEGIN
  -- After a crash both are empty, or neither.
  IF (SELECT relpersistence FROM pg_class WHERE oid = 'mo_peers'::regclass) = 'u' THEN
    ALTER TABLE mo_swarms SET UNLOGGED;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'mo_swarms'::regclass AND tgname = 'mo_swarms_restored') THEN
    LOCK TABLE mo_peers IN ACCESS EXCLUSIVE MODE;
    DROP TRIGGER IF EXISTS mo_peers_came ON mo_peers;
    DROP TRIGGER IF EXISTS mo_peers_left ON mo_peers;
    DROP TRIGGER IF EXISTS mo_peers_moved ON mo_peers;
    DROP TRIGGER IF EXISTS mo_peers_emptied ON mo_peers;
    CREATE TRIGGER mo_peers_came AFTER INSERT ON mo_peers REFERENCING NEW TABLE AS came
      FOR EACH STATEMENT EXECUTE FUNCTION mo_count_peers();
    CREATE TRIGGER mo_peers_left AFTER DELETE ON mo_peers REFERENCING OLD TABLE AS went
      FOR EACH STATEMENT EXECUTE FUNCTION mo_count_peers();
    CREATE TRIGGER mo_peers_moved AFTER UPDATE ON mo_peers REFERENCING OLD TABLE AS went NEW TABLE AS came
      FOR EACH STATEMENT EXECUTE FUNCTION mo_count_peers();
    CREATE TRIGGER mo_peers_emptied AFTER TRUNCATE ON mo_peers
      FOR EACH STATEMENT EXECUTE FUNCTION mo_count_peers();
    CREATE TRIGGER mo_swarms_restored BEFORE INSERT ON mo_swarms FOR EACH ROW
      WHEN (pg_trigger_depth() = 0 AND coalesce(current_setting('mo.counting', true), '') <> 'on')
      EXECUTE FUNCTION mo_refuse_counts();
    DROP FUNCTION IF EXISTS mo_count_change(), mo_count_swarm(bytea, int8, int8);
    IF coalesce(current_setting('mo.is_counted', true), '') <> 'true' THEN
      PERFORM mo_count_all_swarms();
    END IF;
  END IF;
END $$;
