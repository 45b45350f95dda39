#!lua
-- include: _open _session _sound _events _ops _doubt _slide _spend
-- Move the staged messages and the last ones into the thread and end the turn.
-- ARGV  5 turn_id  6 holder  7 max_bytes of the thread  8 input_tokens  9 output_tokens
--       10 tool_calls  11 staged: how many messages the holder knows to be
--       12 counts of other things: name amount name …  13… messages
-- Returns  nonce 'ok' version count deadline now user, id of the event or ''  |  nonce 'superseded'
--          nonce 'unsure' version: it may be stored and forgotten, so look into the thread
--          nonce 'toolarge' bytes  |  those of _open, _session, _sound and _doubt
if open_turn ~= ARGV[5] or holder ~= ARGV[6] then
  refused = refusal()
  if refused then
    return refused
  end
  local done, by = recall('=' .. ARGV[5])
  if done and by == ARGV[6] then
    return {nonce, 'ok', done, count, deadline, now, owner, ''}
  end
  return not done and doubt(version) or {nonce, 'superseded'}
end
local messages, ops = redis.pcall('LRANGE', KEYS[3], '0', '-1'), redis.pcall('HLEN', KEYS[5])
if messages.err or #messages ~= tonumber(ARGV[11]) or type(ops) == 'table' then
  -- Superseded: it may lack a tool result, or hold one that nobody asked for.
  return refusal(messages, ops) or {nonce, 'superseded'}
end
for i = 13, #ARGV do
  messages[#messages + 1] = ARGV[i]
end
for i = 1, #messages do
  bytes = bytes + #messages[i]
end
if bytes > tonumber(ARGV[7]) then
  return refusal() or {nonce, 'toolarge', bytes}
end
local new_version = format('%d', version + 1)
if not append(KEYS[2], messages, 1, 'agent_response', ARGV[5], new_version, count) then
  return refused
end
count = count + #messages
redis.call('DEL', KEYS[3])
open_turn = nil
remember(named .. ARGV[5], new_version, ARGV[6])
slide('version', new_version, 'message_count', format('%d', count),
  'bytes', format('%d', bytes), 'turns', format('%d', turns + 1), spent(8, ARGV[12]))
return {nonce, 'ok', version + 1, count, deadline, now, owner, event}
