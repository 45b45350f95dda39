#!lua flags=allow-oom
-- include: _open _checked _session _sound _head
-- Let go of messages at the head of the thread. Those behind them keep their positions; the first
-- ones, which may stay, come to stand in front of these. Done again it finds another head.
-- ARGV  5 epoch and  6 head, the position of the first record, when that was looked at
--       7 stay: how many of the first messages are kept  8 going: how many behind these go
-- Returns  nonce 'ok' position of the first record now  |  nonce 'changed', look again
--          nonce 'miscounted' count length  |  those of _open, _session and _sound
local length = redis.call('LLEN', KEYS[2])
local first, kept = first_of(length)
if not first then
  return {nonce, 'miscounted', kept, length}
end
local stay, going = tonumber(ARGV[7]), tonumber(ARGV[8])
if epoch ~= tonumber(ARGV[5]) or first ~= tonumber(ARGV[6]) or stay + going > length then
  return {nonce, 'changed'}
end
local gone = redis.call('LPOP', KEYS[2], stay + going) or {}
for i = stay + 1, #gone do
  bytes = bytes - #gone[i]
end
for i = stay, 1, -1 do
  redis.call('LPUSH', KEYS[2], gone[i])
end
expire(2, deadline) -- it may be new: all was taken out
first = first + going
-- The version tells who looks for a turn in the thread whether it may have been among these.
redis.call('HSET', KEYS[4], 'head', format('%d', first), 'bytes', format('%d', bytes),
  'trimmed', format('%d', version))
return {nonce, 'ok', first}
