-- Peers for one who announces, at random: seeders first, then leechers.
-- KEYS: hash of seeders, hash of leechers
-- ARGV: number wanted, '1' for a seeder, peer to leave out or '', length of a peer, a random number
-- A peer in both roles, as old MoChi nodes leave it, counts where its time is later, at equal times
-- as seeder.
local call = redis.call
local want, exclude, length, random = tonumber(ARGV[1]), ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local found, spare = {}, exclude ~= '' and 1 or 0

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

local function is_seeder(peer)
  local seeded, leeched = digits(call('HGET', KEYS[1], peer)), digits(call('HGET', KEYS[2], peer))
  return not leeched or (seeded and not later(leeched, seeded))
end

local function is_leecher(peer)
  return not is_seeder(peer)
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

-- Adds those peers that count in their role; tells whether there are enough now. It begins anywhere:
-- a small hash gives its sample in a fixed order, and the last would always be left over.
local function add(peers, both, counts)
  local n, total = #found, #peers
  for i = 1, total do
    if n == want then
      return true
    end
    local peer = peers[(random + i) % total + 1]
    if #peer == length and peer ~= exclude and (not both[peer] or counts(peer)) then
      n = n + 1
      found[n] = peer
    end
  end
  return n == want
end

-- Adds peers of a hash until there are enough, or no more.
local function sample(key, other_key, counts)
  local before = #found
  local ask = want - before + spare
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

if ARGV[2] == '1' then
  sample(KEYS[2], KEYS[1], is_leecher)
  return found
end

if call('HLEN', KEYS[1]) <= want and call('HLEN', KEYS[2]) <= want then
  -- A small swarm is read whole.
  local seeders, leechers = call('HKEYS', KEYS[1]), call('HKEYS', KEYS[2])
  local seen, both = {}, {}
  for i = 1, #seeders do
    seen[seeders[i]] = true
  end
  for i = 1, #leechers do
    both[leechers[i]] = seen[leechers[i]]
  end
  if not add(seeders, both, is_seeder) then
    add(leechers, both, is_leecher)
  end
  return found
end

sample(KEYS[1], KEYS[2], is_seeder)
if #found < want then
  sample(KEYS[2], KEYS[1], is_leecher)
end
return found
