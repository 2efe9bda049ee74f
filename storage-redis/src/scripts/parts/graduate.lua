-- Makes a client a seeder at each of its addresses, `peers`, each with its `key` and the hashes of `seeders` and
-- `leechers` of its family. If it was one at none of them, that is a download. Gives whether it was.
local function graduate(peers, swarms, seeder_counter, leecher_counter, downloads, time, info_hash)
  local is_download = true
  -- Reading comes first, so that a key of the wrong type stops the script before it has counted.
  for _, peer in ipairs(peers) do
    redis.call('HEXISTS', peer.leechers, peer.key)
    if redis.call('HEXISTS', peer.seeders, peer.key) == 1 and is_seeder(peer.seeders, peer.leechers, peer.key) then
      is_download = false
    end
    redis.call('SISMEMBER', swarms, peer.seeders)
  end
  if is_download then
    -- Refused without effect where the number there is none.
    redis.call('HINCRBY', downloads, info_hash, 1)
  end
  for _, peer in ipairs(peers) do
    put(peer.seeders, peer.leechers, swarms, seeder_counter, leecher_counter, peer.key, time)
  end
  return is_download and 1 or 0
end
