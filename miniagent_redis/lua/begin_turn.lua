#!lua
-- include: _open _session _sound _events _ops _doubt _room _slide _mark _head _lease _begun _queue _turns
-- Open a turn with a message; or, without one only this, take over one whose lease has ended.
-- ARGV  5 turn_id  6 holder  7 lease_ms  8 tickets of who waits for the session in this process, the
--       caller's first; '', 'interrupt', 'end' or 'end turn'  9 max_bytes of the thread  10 epoch known or ''
--       11 count known  12 mark of the last of these, or ''  13 most messages to return
--       14 searched: up to which version the turn is known not to be in the thread, if that is so,
--       '=' in front if a caller gave its id; '' for one that is surely new  15 message, or ''
-- Returns  nonce 'ok' turn version epoch count start messages staged owner, id of the event or '',
--            takeovers, position of the first record, or nil for 0, calls approved as so_far has
--            them, or nil; another turn: an abandoned one
--          nonce 'busy' ms left of the lease or the first ticket, version, 1 if it is this very turn
--          nonce 'waiting' turn, what for as in park_turn, its messages  |  nonce 'none', no turn
--          nonce 'superseded', this holder's turn is over  |  nonce 'done' version of its commit
--          nonce 'unsure' version: look into the thread  |  nonce 'toolarge' bytes needed
--          nonce 'miscounted' count length of the thread  |  those of _open, _session and _doubt
local length, ops = redis.pcall('LLEN', KEYS[2]), redis.pcall('HLEN', KEYS[5])
local first, kept = first_of(length)
if not first or type(ops) == 'table' then
  return refusal(length, ops) or {nonce, 'miscounted', kept, length}
end
local doubtful = holder ~= ARGV[6] and doubt(version)
if doubtful and doubtful[2] ~= 'unsure' then
  return refusal() or doubtful -- what is open here may be another session's
end
local turn, staged, new, again = ARGV[5], {}, not open_turn, holder == ARGV[6] -- by an earlier try
local given, searched = string.match(ARGV[14], '^(=?)(%d*)$')
local same = (searched ~= '' or is_repeated) and open_turn == turn and not again
local stays = same or not interrupts -- nobody interrupts his own turn
local ended = (is_repeated or not stays) and not (again or same) and over(turn, given, searched, doubtful)
local left = not ended and not again and (ending() or must_wait(stays and ARGV[8], same or ARGV[15] == ''))
if ended then
  return refusal() or ended -- before it is told to wait: then it would not have been begun
elseif left then
  return refused or {nonce, 'busy', left, version, same and 1 or nil}
elseif open_turn and not (again and open_turn == turn) then
  staged = steps(again or stays)
  new = #staged == 0 -- interrupted, or its steps are lost: there is nothing to go on with
  turn = new and turn or open_turn
  if not new and not again then
    emit('turn_resumed', turn, staged[1], version, true, 0)
  end
end
if new then
  ended = ARGV[15] == '' and {nonce, 'none'}
    or over(turn, given, searched, doubtful, again and not open_turn)
  if ended then
    return refusal() or ended
  elseif with_answer(bytes + #ARGV[15], ARGV[9]) > tonumber(ARGV[9]) then
    return refusal() or {nonce, 'toolarge', with_answer(bytes + #ARGV[15], ARGV[9])}
  end
  drop()
  if not append(KEYS[3], ARGV, 15, 'turn_started', turn, format('%d', version)) then
    return refused
  end
end
local lease_end = now + tonumber(ARGV[7])
if deadline < lease_end then
  slide() -- it must not expire under the turn
end
local cancel, began, takeovers, approved = so_far(not new and turn, again, ARGV[6], again or stays)
redis.call('HSET', KEYS[4], 'turn', turn, 'holder', ARGV[6], 'lease', format('%d', lease_end),
  'lease_ms', ARGV[7], 'cancel', cancel, 'events', last_event or '0', 'takeovers', takeovers,
  'named', new and given or named, 'began', began)
expire(3, deadline)
step_out(ARGV[8], not new and turn ~= ARGV[5] and ARGV[15] ~= '', lease_end)
local start = still(tonumber(ARGV[11]), ARGV[10], ARGV[12], first)
return {nonce, 'ok', turn, version, epoch, count, start,
  records_of(start, ARGV[13]), staged, owner or '', event, takeovers,
  (first > 0 or approved) and first or nil, approved}
