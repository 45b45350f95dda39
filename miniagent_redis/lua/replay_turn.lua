#!lua
-- include: _open _checked _session _sound _events _ops _doubt _slide _spend _lease
-- Store a whole turn at the end of the thread: one whose commit did not reach the server.
-- ARGV  5 turn_id  6 holder  7 max_bytes of the thread  8 input_tokens  9 output_tokens
--       10 tool_calls  11 epoch of the thread at its begin
--       12 searched: up to which version the caller knows that the turn is not in the thread
--       13 staged: how many messages it had staged; who took it over and has as many did nothing
--       yet, and is superseded  |  '' if that does not show
--       14 counts of other things: name amount name …  15… messages of the turn, all of them
-- Returns  nonce 'ok' version count deadline now user  id of the event, or '' if that was earlier
--          nonce 'superseded'   another holder stored it, or the thread was cleared meanwhile
--          nonce 'busy' ms left of the lease: another holder works on it
--          nonce 'unsure' version: operations since then are forgotten, so look into the thread
--          nonce 'toolarge' bytes  |  those of _open, _session, _sound and _doubt
local done, by = recall('=' .. ARGV[5])
if done then
  if by ~= ARGV[6] then
    return {nonce, 'superseded'}
  end
  return {nonce, 'ok', done, count, deadline, now, owner, ''}
end
if epoch ~= tonumber(ARGV[11]) then
  local doubtful = is_repeated and doubt(version) -- an earlier try may have come before that
  if doubtful and doubtful[2] == 'unsure' then
    doubtful[2] = 'uncertain' -- the thread would not tell
  end
  return doubtful or {nonce, 'superseded'}
end
if version - tonumber(ARGV[12]) >= 64 then
  return {nonce, 'unsure', version}
end
if open_turn == ARGV[5] and holder ~= ARGV[6]
  and redis.call('LLEN', KEYS[3]) ~= tonumber(ARGV[13]) then
  local left = lease_left()
  if left > 0 then
    return {nonce, 'busy', left}
  end
end
for i = 15, #ARGV do
  bytes = bytes + #ARGV[i]
end
if bytes > tonumber(ARGV[7]) then
  return {nonce, 'toolarge', bytes}
end
local new_version = format('%d', version + 1)
if not append(KEYS[2], ARGV, 15, 'agent_response', ARGV[5], new_version, count) then
  return refused
elseif open_turn == ARGV[5] then
  redis.call('DEL', KEYS[3]) -- what it staged is among these messages
  open_turn = nil
end
count = count + #ARGV - 14
remember('=' .. ARGV[5], new_version, ARGV[6])
slide('version', new_version, 'message_count', format('%d', count),
  'bytes', format('%d', bytes), 'turns', format('%d', turns + 1), spent(8, ARGV[14]))
return {nonce, 'ok', version + 1, count, deadline, now, owner, event}
