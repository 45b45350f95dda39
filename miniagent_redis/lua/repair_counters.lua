#!lua
-- include: _open _checked _session _ops _epoch _head
-- Set the counters of a thread to what was counted, unless it has changed since.
-- ARGV  5 operation  6 epoch and  7 version when it was counted  8 count of messages  9 size in bytes
-- Returns  nonce 'ok' 1, or 0 if it has changed  |  those of _open and _session
if recall(ARGV[5]) then
  return {nonce, 'ok', 1}
end
if epoch ~= tonumber(ARGV[6]) or version ~= tonumber(ARGV[7])
  or redis.call('LLEN', KEYS[2]) ~= tonumber(ARGV[8]) then
  return {nonce, 'ok', 0}
end
local first = count and first_of(tonumber(ARGV[8]))
if not first then
  epoch, count = new_epoch, ARGV[8] -- positions that somebody remembers may be those of others
end
if not first or first == 0 then
  redis.call('HDEL', KEYS[4], 'head', 'trimmed')
end
version = version + 1
remember(ARGV[5], version, '')
redis.call('HSET', KEYS[4], 'version', version, 'epoch', epoch, 'message_count', count,
  'bytes', ARGV[9])
expire(5, deadline) -- it may be new: some was lost
return {nonce, 'ok', 1}
