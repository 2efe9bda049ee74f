-- Which role counts for a peer in both, as old MoChi nodes leave it: the one of the later time, at equal
-- times seeder.

-- Nanoseconds as digits without leading zeros, or nil. Lua's numbers can't hold them.
local function digits(time)
  return time and (string.match(time, '^%-?[1-9]%d*$') or string.match(time, '^0$'))
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

-- Whether a peer of the hash `seeders` counts as one.
local function is_seeder(seeders, leechers, peer)
  local leeched = digits(redis.call('HGET', leechers, peer))
  if not leeched then
    return true
  end
  local seeded = digits(redis.call('HGET', seeders, peer))
  return seeded and not later(leeched, seeded) or false
end
