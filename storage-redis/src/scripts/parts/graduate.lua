-- Makes a peer a seeder and counts a download.
local function graduate(seeders, leechers, swarms, seeder_counter, leecher_counter, downloads, peer, time, info_hash)
  -- Reading comes first, so that a key of the wrong type stops the script before it has counted.
  redis.call('HEXISTS', leechers, peer)
  redis.call('HEXISTS', seeders, peer)
  redis.call('SISMEMBER', swarms, seeders)
  -- Refused without effect where the number there is none.
  redis.call('HINCRBY', downloads, info_hash, 1)
  put(seeders, leechers, swarms, seeder_counter, leecher_counter, peer, time)
end
