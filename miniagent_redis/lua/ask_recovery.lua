#!lua
-- Note that somebody has to look after the session's turn, if it is open by then and nobody works on it.
-- KEYS  1 a shard of the open turns by when to look
-- ARGV  1 nonce  2 now in ms, or ''  3 after_ms: when to look  4 session_id
-- Returns  nonce 'ok'  |  nonce 'wrongtype' key type
local found = redis.call('TYPE', KEYS[1]).ok
if found ~= 'zset' and found ~= 'none' then
  return {ARGV[1], 'wrongtype', KEYS[1], found}
end
local now = tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
redis.call('ZADD', KEYS[1], string.format('%d', now + tonumber(ARGV[3])), ARGV[4])
return {ARGV[1], 'ok'}
