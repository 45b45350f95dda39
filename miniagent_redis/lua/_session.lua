-- Follows in every script on an existing session: it is alive, and the user's.
-- Returns  nonce 'notfound'   one answer for unknown, expired, someone else's, and made since
local size = exists == nil and redis.pcall('STRLEN', KEYS[1]) -- else its type is known
local head = redis.pcall('HMGET', KEYS[4], 'deadline', 'version', 'epoch', 'message_count', 'bytes',
  'ttl', 'max_end', 'turns', 'input_tokens', 'output_tokens', 'tool_calls', 'user', 'turn',
  'holder', 'events', 'next', 'lease', 'named', 'waits')
local sound = true -- whether all are numbers that should be
for i = 1, 11 do
  head[i] = tonumber(head[i])
  sound = sound and head[i]
end
local deadline, version, epoch, count, bytes, ttl, max_end, turns = unpack(head, 1, 8)
local owner, open_turn, holder = head[12], head[13] ~= '' and head[13], head[14]
last_event, next_ticket = head[15], head[16] or ''
local named = head[18] or '' -- '=' if a caller gave the open turn its id
-- What it waits for, once it is parked: see park_turn. What is there of an earlier turn does not count.
local waits = open_turn and head[19] or ''
if waits ~= '' then
  waits = string.sub(waits, 1, #open_turn + 1) == open_turn .. ' '
    and string.match(waits, '^%S+ %S+(.*)') or ''
end
-- A stranger's call and one for no session end here after the same commands.
if type(size) == 'table' or not deadline or deadline <= now or (user ~= '' and user ~= owner)
  or not (exists or size and (size ~= 0 or redis.call('EXISTS', KEYS[1]) == 1)) or is_anew() then
  return refusal(size, head) or {nonce, 'notfound'}
end
