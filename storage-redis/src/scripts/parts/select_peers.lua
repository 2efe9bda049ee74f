-- Peers of one family for one who announces, at random, are added to `found`: seeders first, then
-- leechers, up to `want` in all, without those `excluded`. `length` is that of a peer, `random` a number.
-- A peer in both roles, as old MoChi nodes leave it, counts where its time is later, at equal times
-- as seeder.
local call = redis.call

-- Nanoseconds as digits, or nil. Lua's numbers can't hold them.
local function digits(time)
  return time and string.match(time, '^%-?%d+$')
end

local function later(a, b)
  local a_before_1970, b_before_1970 = string.sub(a, 1, 1) == '-', string.sub(b, 1, 1) == '-'
  if a_before_1970 ~= b_before_1970 then
    return b_before_1970
  end
  if a_before_1970 then
    a, b = b, a
  end
  if #a ~= #b then
    return #a > #b
  end
  return a > b
end

local function is_seeder(seeders, leechers, peer)
  local seeded, leeched = digits(call('HGET', seeders, peer)), digits(call('HGET', leechers, peer))
  return not leeched or (seeded and not later(leeched, seeded))
end

-- Those of the peers that are in another hash as well.
local function also_in(key, peers)
  local both = {}
  for first = 1, #peers, 1000 do
    local last = math.min(first + 999, #peers)
    local times = call('HMGET', key, unpack(peers, first, last))
    for i = 1, #times do
      if times[i] then
        both[peers[first + i - 1]] = true
      end
    end
  end
  return both
end

local function select_peers(found, seeders, leechers, want, for_seeder, excluded, length, random)
  local function counts_as_seeder(peer)
    return is_seeder(seeders, leechers, peer)
  end

  local function counts_as_leecher(peer)
    return not is_seeder(seeders, leechers, peer)
  end

  -- Adds those peers that count in their role; tells whether there are enough now. It begins anywhere:
  -- a small hash gives its sample in a fixed order, and the last would always be left over.
  local function add(peers, both, counts)
    local n, total = #found, #peers
    for i = 1, total do
      if n == want then
        return true
      end
      local peer = peers[(random + i) % total + 1]
      if #peer == length and not excluded[peer] and (not both[peer] or counts(peer)) then
        n = n + 1
        found[n] = peer
      end
    end
    return n == want
  end

  -- Adds peers of a hash until there are enough, or no more.
  local function sample(key, other_key, counts)
    local before = #found
    local ask = want - before + excluded.number
    while true do
      local peers = call('HRANDFIELD', key, ask)
      if add(peers, also_in(other_key, peers), counts) or #peers < ask then
        return
      end
      -- Too many don't count: all over again with more.
      for i = #found, before + 1, -1 do
        found[i] = nil
      end
      ask = ask * 2
    end
  end

  if for_seeder then
    return sample(leechers, seeders, counts_as_leecher)
  end
  local room = want - #found
  if call('HLEN', seeders) <= room and call('HLEN', leechers) <= room then
    -- A small swarm is read whole.
    local all_seeders, all_leechers = call('HKEYS', seeders), call('HKEYS', leechers)
    local seen, both = {}, {}
    for i = 1, #all_seeders do
      seen[all_seeders[i]] = true
    end
    for i = 1, #all_leechers do
      both[all_leechers[i]] = seen[all_leechers[i]]
    end
    if not add(all_seeders, both, counts_as_seeder) then
      add(all_leechers, both, counts_as_leecher)
    end
    return
  end
  sample(seeders, leechers, counts_as_seeder)
  if #found < want then
    sample(leechers, seeders, counts_as_leecher)
  end
end
