#!lua flags=no-writes
-- include: _open _checked _session _sound _mark _head
-- Read a piece of the thread: forward from a position, or backward from one.
-- ARGV  5 epoch known, or ''  6 start, or '' to read backward  7 end, or '' for the whole thread
--       8 most messages to return  9 mark of the record in front of start, or ''
-- Returns  nonce 'ok' version epoch count start messages, position of the first record, unless 0
--          nonce 'miscounted' count length  |  those of _open, _session and _sound
local length = redis.call('LLEN', KEYS[2])
local first, kept = first_of(length)
if not first then
  return {nonce, 'miscounted', kept, length}
end
local start, stop, most = tonumber(ARGV[6]), tonumber(ARGV[7]) or count, tonumber(ARGV[8])
stop = math.min(stop, count)
if not start then
  start = math.max(stop - most, first)
elseif ARGV[5] ~= '' then
  start = still(start, ARGV[5], ARGV[9], first)
end
start = math.max(start, first)
return {nonce, 'ok', version, epoch, count, start, records_of(start, most, stop),
  first > 0 and first or nil}
