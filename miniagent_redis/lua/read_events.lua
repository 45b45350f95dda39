#!lua flags=no-writes
-- include: _open _checked _session _messages
-- Read events from an id on, or the last one only, with the messages that they tell of.
-- ARGV  5 first id, or '' for the last event only  6 most events
--       7 max_bytes of them, unless the first one alone is larger
-- The first event, that the session was created, is not stored: a stream takes up 4 kB at once, most
-- sessions of some programs never have a turn, and metadata has all that there is to tell.
-- Returns  nonce 'ok' now  created_at  deadline  number of the last event  1 if there may be more, or 0
--          events, each an id, its fields and the record that they point to, '' if that is gone
--          those of _open and _session
local made, last, head = unpack(redis.call('HMGET', KEYS[4], 'created_at', 'events', 'head'))
local trimmed = tonumber(head or 0) or 0
local most, room, events = tonumber(ARGV[6]), tonumber(ARGV[7])
if ARGV[5] == '' then
  events = redis.call('XREVRANGE', KEYS[6], '+', '-', 'COUNT', 1)
else
  events = redis.call('XRANGE', KEYS[6], ARGV[5], '+', 'COUNT', most)
end
local ms, number = string.match(ARGV[5], '^(%d+)-(%d+)$')
ms, number = tonumber(ms or made), tonumber(number or last) -- without an id the last one counts
if made and (ms < tonumber(made) or ms == tonumber(made) and number <= 1)
  and (events[1] and string.match(events[1][1], '%-2$') or not events[1] and last == '1') then
  local fields = {'type', 'session_created', 'turn', '', 'version', '1', 'record', ''}
  table.insert(events, 1, {made .. '-1', fields})
  events[most + 1] = nil
end
local firsts, found, more = places_of_turns(events), {}, #events == most and 1 or 0
for i, entry in ipairs(events) do
  local record = message_of(entry[2], firsts, trimmed)
  room = room - #record - #(entry[2][8] or '')
  if room < 0 and i > 1 then
    more = 1
    break
  end
  found[i] = {entry[1], entry[2], record}
end
return {nonce, 'ok', now, tonumber(made), deadline, tonumber(last) or 0, more, found}
