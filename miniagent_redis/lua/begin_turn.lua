#!lua
-- include: _open _session _sound
-- Open a turn with the user's message, or take over one whose lease has ended; without a message
-- only the latter.
-- ARGV  5 turn id  6 holder  7 lease in ms  8 'interrupt' or ''  9 largest thread in bytes
--       10 known epoch  11 known count  12 most messages to return
--       13 '' for a turn id that is surely new; else up to which version it is known not to be in
--       the thread, or '?'
--       14 message, or ''
-- Returns  nonce 'ok' turn version epoch count start messages staged owner
--            another turn than the one asked for, and its staged steps: an abandoned one
--          nonce 'busy' ms left of the lease, version
--          nonce 'done' version, it was committed before
--          nonce 'unsure' version: operations since then are forgotten, so look into the thread
--          nonce 'none', there is nothing to take over
--          nonce 'superseded', the turn of this holder is over
--          nonce 'miscounted' count length, of the thread: some of it is missing, or foreign
--          nonce 'toolarge' bytes  |  those of _open, _session and _sound
if redis.call('LLEN', KEYS[2]) ~= count then
  return {nonce, 'miscounted', count, redis.call('LLEN', KEYS[2])}
end
local turn, new, staged = ARGV[5], not open_turn, {}
local again = holder == ARGV[6] -- an earlier try has begun it, or taken it over
if open_turn and not (again and open_turn == turn) then
  if again or lease <= now then
    staged = redis.call('LRANGE', KEYS[3], 0, -1)
    new = #staged == 0 -- lost: there is nothing to go on with
    turn = new and turn or open_turn
    if not new and not again then
      emit('turn_resumed', turn, staged[1], version)
    end
  elseif ARGV[8] == 'interrupt' then
    new = true
  else
    return {nonce, 'busy', lease - now, version}
  end
end
if new then
  if ARGV[14] == '' then
    return {nonce, 'none'}
  end
  if again and not open_turn then
    return {nonce, 'superseded'} -- sent long ago: what it began has come to its end since
  end
  local done = ARGV[13] ~= '' and recall(turn)
  if done or version - (tonumber(ARGV[13]) or version) >= 64 then
    return {nonce, done and 'done' or 'unsure', done or version}
  end
  if bytes + #ARGV[14] > tonumber(ARGV[9]) then
    return {nonce, 'toolarge', bytes + #ARGV[14]}
  end
  if open_turn then
    close_turn()
    emit('turn_failed', open_turn, '', version, true)
  end
  redis.call('RPUSH', KEYS[3], ARGV[14])
  emit('turn_started', turn, ARGV[14], version)
end
local lease_end = now + tonumber(ARGV[7])
redis.call('HSET', KEYS[4], 'turn', turn, 'holder', ARGV[6], 'lease', lease_end)
if deadline < lease_end then
  slide() -- it must not expire under the turn
else
  redis.call('PEXPIREAT', KEYS[3], deadline + grace)
end
local known = tonumber(ARGV[11])
local start = ARGV[10] == head[4] and known <= count and known or 0
local messages = start < count
  and redis.call('LRANGE', KEYS[2], start, start + tonumber(ARGV[12]) - 1) or {}
return {nonce, 'ok', turn, version, epoch, count, start, messages, staged, head[1] or ''}
