-- A write that was given up must not take effect later. The last of ARGV is the time in microseconds, by
-- the server's clock, from which on it is refused.
local expiry, time = tonumber(table.remove(ARGV)), redis.call('TIME')
if time[1] * 1000000 + time[2] >= expiry then
  return redis.error_reply('EXPIRED the server came to it too late, and did not make it')
end
