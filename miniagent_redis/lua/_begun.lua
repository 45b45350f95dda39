-- Follows _doubt.lua, _room.lua and _lease.lua in begin_turn.lua, whose arguments these are.

-- Returns 'begun' if the events tell that a turn has begun since this was sent, by an earlier try, or
-- 'cleared' if they tell that messages were removed since, and so are no longer all.
local function told_since(turn)
  local first, told = format('%d', (since or 0) + (tried == '' and 1 or 0)), nil
  for _, event in ipairs(is_late and redis.pcall('XRANGE', KEYS[6], first, '+') or {}) do
    if event[2][2] == 'turn_started' and event[2][4] == turn then
      return 'begun'
    elseif event[2][2] == 'history_cleared' then
      told = 'cleared'
    end
  end
  return told
end

-- Returns the answer to who begins a turn that is over: stored, or begun by an earlier try and dropped
-- since; or that nobody knows. Nothing if it was never begun. One that is not in the thread up to the
-- version `searched` may have come there since, and be forgotten: the id that a caller gave is known
-- for 500 versions, any other for 64. Who only takes over an abandoned turn begins none.
local function over(turn, given, searched, doubtful, is_gone)
  if ARGV[15] == '' then
    return
  end
  local done = (is_late or ARGV[14] ~= '') and recall('=' .. turn)
  local others = version - (tonumber(searched) or version) -- have come since
  if done then
    return {nonce, 'done', done}
  elseif doubtful and searched == '' or others >= (given == '=' and 500 or 64) then
    return {nonce, 'unsure', version}
  end
  local told = told_since(turn)
  if is_gone or told == 'begun' then
    return {nonce, 'superseded'}
  elseif is_repeated and doubtful and told then -- it may have been among what was removed
    return {nonce, 'uncertain', version}
  end
end

-- What stands in place of tickets: the open turn is dropped; or it is taken over, to be ended with what
-- there is, if something was done in it, or shown of its answer, and there will be room for the message.
-- Of which turn something was shown that was not told yet, only the caller can know.
local ends, shown = string.match(ARGV[8], '^(end) ?(.*)')
local interrupts = ends or ARGV[8] == 'interrupt'

-- Returns the messages of the open turn if it is to be taken over; else it is dropped.
local function steps(goes_on)
  local staged = redis.call('LRANGE', KEYS[3], 0, -1)
  local is_ended = ends and (#staged > 1 or shown == open_turn
    or redis.call('HGET', KEYS[4], 'shown') == open_turn)
  is_ended = is_ended and with_answer(bytes + #ARGV[15], ARGV[9]) <= tonumber(ARGV[9])
  return (goes_on or is_ended) and staged or {}
end

-- Returns for how many ms somebody is to be left alone who has taken the open turn over to end it: those
-- who interrupt at the same time would take it from each other for ever. Nothing if there is nobody.
local function ending()
  if ends and open_turn and redis.call('HGET', KEYS[4], 'ender') == holder then
    local left = lease_left() + 2000 - (tonumber(redis.call('HGET', KEYS[4], 'lease_ms')) or never)
    return left > 0 and left
  end
end
