#!lua flags=allow-oom
-- Take an entry out of an index if its score is still the one seen: nobody has renewed it since.
-- KEYS  1 an index of sessions
-- ARGV  1 nonce  2 session_id  3 score seen
-- Returns  nonce 'ok' how many were taken out  |  nonce 'wrongtype' key type
local found = redis.call('TYPE', KEYS[1]).ok
if found ~= 'zset' and found ~= 'none' then
  return {ARGV[1], 'wrongtype', KEYS[1], found}
end
local score = redis.call('ZSCORE', KEYS[1], ARGV[2])
if not score or tonumber(score) ~= tonumber(ARGV[3]) then
  return {ARGV[1], 'ok', 0}
end
return {ARGV[1], 'ok', redis.call('ZREM', KEYS[1], ARGV[2])}
