#!lua flags=no-writes
-- include: _open _checked _session _sound _mark
-- Read a piece of the thread: forward from a position, or backward from one.
-- ARGV  5 epoch known, or ''  6 start, or '' to read backward  7 end, or '' for the whole thread
--       8 most messages to return  9 mark of the record in front of start, or ''
-- Returns  nonce 'ok' version epoch count start messages  |  nonce 'miscounted' count length
--           those of _open, _session and _sound
local length = redis.call('LLEN', KEYS[2])
if length ~= count then
  return {nonce, 'miscounted', count, length}
end
local start, stop, most = tonumber(ARGV[6]), tonumber(ARGV[7]) or count, tonumber(ARGV[8])
stop = math.min(stop, count)
if not start then
  start = math.max(stop - most, 0)
elseif ARGV[5] ~= '' then
  start = still(start, ARGV[5], ARGV[9])
end
stop = math.min(stop, start + most)
local messages = stop > start and redis.call('LRANGE', KEYS[2], start, stop - 1) or {}
return {nonce, 'ok', version, epoch, count, start, messages}
