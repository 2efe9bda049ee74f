-- The role, 'seeder' or 'leecher', and the time of a peer, nil where it cannot be read; of one in both roles those
-- that count. Nothing for one that is not there.
local function stored(seeders, leechers, peer)
  local seeded, leeched = redis.call('HGET', seeders, peer), redis.call('HGET', leechers, peer)
  if seeded and (not leeched or is_seeder(seeders, leechers, peer)) then
    return 'seeder', digits(seeded)
  end
  if leeched then
    return 'leecher', digits(leeched)
  end
end
