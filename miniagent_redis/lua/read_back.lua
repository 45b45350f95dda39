#!lua flags=no-writes
-- include: _open _checked _session _sound _head
-- Read the thread backward from a position, up to so many records and bytes: for searches.
-- ARGV  5 epoch known, or ''; if it is another one by now, or none, from the end on
--       6 end, or '' for the end of the thread  7 most messages  8 most_bytes, but for the first one
-- Returns  nonce 'ok' epoch start messages, position of the thread's first record
--          nonce 'miscounted' count length  |  those of _open, _session and _sound
local length = redis.call('LLEN', KEYS[2])
local first, kept = first_of(length)
if not first then
  return {nonce, 'miscounted', kept, length}
end
local stop = tonumber(ARGV[5]) == epoch and math.min(tonumber(ARGV[6]) or count, count) or count
local found, size, start = {}, 0, math.max(stop, first)
while start > first and #found < tonumber(ARGV[7]) do
  local piece = records_of(math.max(start - 10, first), 10, start)
  for i = #piece, 1, -1 do
    size = size + #piece[i]
    if #found == tonumber(ARGV[7]) or (#found > 0 and size > tonumber(ARGV[8])) then
      break
    end
    table.insert(found, 1, piece[i])
    start = start - 1
  end
  if size > tonumber(ARGV[8]) then
    break
  end
end
return {nonce, 'ok', epoch, start, found, first}
