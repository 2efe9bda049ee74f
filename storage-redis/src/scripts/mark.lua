-- Writes what is there already, so that replicas have something to acknowledge: WAIT waits for the connection's own last
-- write, and where a repeated call finds its work done there is none.
-- KEYS: a hash
local value = redis.call('HGET', KEYS[1], '')
redis.call('HSET', KEYS[1], '', value or '')
if not value then
  redis.call('HDEL', KEYS[1], '')
end
