#!lua
-- Count a request against a limit: the sliding window counter, an estimate from two fixed windows.
-- weighted = previous * (part of the window it still covers) + current
-- KEYS  1 a hash of: start of the current window, its count, the count of the one before
-- ARGV  1 nonce  2 now in ms, or ''  3 limit  4 window in ms  5 cost of this request
-- Returns  nonce 'ok' remaining  |  nonce 'limited' ms until the request can pass
--          nonce 'wrongtype' key type
local found = redis.call('TYPE', KEYS[1]).ok
if found ~= 'hash' and found ~= 'none' then
  return {ARGV[1], 'wrongtype', KEYS[1], found}
end
local now, limit, window, cost = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local start = now - now % window
local kept = redis.call('HMGET', KEYS[1], 'start', 'current', 'previous')
local current, previous = 0, 0
if tonumber(kept[1]) == start then
  current, previous = tonumber(kept[2]), tonumber(kept[3])
elseif tonumber(kept[1]) == start - window then
  previous = tonumber(kept[2])
end
local used = math.floor(previous * (start + window - now) / window + current)
if used + cost <= limit then
  redis.call('HSET', KEYS[1], 'start', start, 'current', current + cost, 'previous', previous)
  redis.call('PEXPIRE', KEYS[1], 2 * window)
  return {ARGV[1], 'ok', limit - used - cost}
end
-- The estimate has to fall below free + 1: in this window, or when `current` has become `previous`.
local free, passes = limit - cost, start + window
if current <= free then
  passes = passes - window * (free + 1 - current) / previous
else
  passes = passes + math.max(0, window * (1 - (free + 1) / current))
end
return {ARGV[1], 'limited', math.max(1, math.floor(passes) + 1 - now)}
