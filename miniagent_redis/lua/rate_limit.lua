#!lua
-- include: _hashes
-- Count a request against limits, all or none: the sliding window counter, an estimate from two
-- fixed windows: previous * (part of the window it still covers) + current
-- KEYS  1 … for each limit a hash: start of the current window, its count, the count of the one
--       before, ids of the last requests
-- ARGV  1 nonce  2 now in ms, or ''  3 request_id, or ''
--       4… numbers, for each key: limit, window_ms, cost (what must still fit), added (is counted)
-- Returns  nonce 'ok' {remaining, for each key} now   counted now, or earlier by the same id
--          nonce 'limited' i ms: until the request can pass, by the key that takes longest
--          those of _hashes
local now, id = tonumber(ARGV[2]), ARGV[3]
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local counters, left, seen, longest, slowest = {}, {}, false, 0, 0
for i = 1, #KEYS do
  local limit, window = tonumber(ARGV[4 * i]), tonumber(ARGV[4 * i + 1])
  local cost = tonumber(ARGV[4 * i + 2])
  local kept = redis.call('HMGET', KEYS[i], 'start', 'current', 'previous', 'ids')
  local ahead = (tonumber(kept[1]) or 0) - now
  local at = now + (ahead > 0 and ahead <= window and ahead or 0) -- the clock may have gone back
  local start = at - at % window
  local ids, current, previous = kept[4] or '', 0, 0
  if ahead > window then -- by more than a window: whatever was counted may have been just now
    current = (tonumber(kept[2]) or 0) + (tonumber(kept[3]) or 0)
    redis.call('HSET', KEYS[i], 'start', start, 'current', current, 'previous', 0)
    redis.call('PEXPIRE', KEYS[i], 2 * window)
  elseif tonumber(kept[1]) == start then
    current, previous = tonumber(kept[2]), tonumber(kept[3])
  elseif tonumber(kept[1]) == start - window then
    previous = tonumber(kept[2])
  end
  seen = seen or id ~= '' and string.find(ids, id, 1, true)
  counters[i] = {start = start, current = current, previous = previous, ids = ids, window = window}
  local used = math.floor(previous * (start + window - at) / window + current)
  left[i] = limit - used
  if used + cost > limit then
    -- The estimate has to fall below free + 1: in this window, or when `current` is `previous`.
    local free, passes = limit - cost, start + window
    if current <= free then
      passes = passes - window * (free + 1 - current) / previous
    else
      passes = passes + math.max(0, window * (1 - (free + 1) / current))
    end
    local wait = math.max(1, math.floor(passes) + 1 - now)
    if wait > longest then
      longest, slowest = wait, i
    end
  end
end
if seen then
  return {ARGV[1], 'ok', left, now}
elseif longest > 0 then
  return {ARGV[1], 'limited', slowest, longest}
end
for i, counter in ipairs(counters) do
  local added = tonumber(ARGV[4 * i + 3])
  redis.call('HSET', KEYS[i], 'start', counter.start, 'current', counter.current + added,
    'previous', counter.previous, 'ids', string.sub(counter.ids .. ' ' .. id, -416)) -- some 32
  redis.call('PEXPIRE', KEYS[i], 2 * counter.window)
  left[i] = left[i] - added
end
return {ARGV[1], 'ok', left, now}
