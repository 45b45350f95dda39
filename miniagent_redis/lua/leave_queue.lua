#!lua flags=allow-oom
-- include: _open _checked _session _lease _queue
-- Give up a place among those who wait for the session; wake who is next, if it is free.
-- ARGV  5 ticket
-- Returns  nonce 'ok' 1, or 0 if it had none  |  those of _open, _session and _queue
local queue = ' ' .. (next_ticket ~= '' and redis.call('GET', KEYS[7]) or '')
local before, behind = string.match(queue, '^(.*) ' .. ARGV[5] .. ':%d+(.*)$')
if not before then
  return {nonce, 'ok', 0}
end
local was_next = next_ticket == ARGV[5]
keep(before .. behind)
if was_next and next_ticket ~= '' and not (open_turn and lease > now) then
  redis.call('PUBLISH', KEYS[6], 'queue_moved ' .. next_ticket)
end
return {nonce, 'ok', 1}
