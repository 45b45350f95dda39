-- Follows _doubt.lua in begin_turn.lua, whose arguments these are.

-- Returns whether the events tell that a turn has begun since this was sent, by an earlier try.
local function was_begun(turn)
  local first = format('%d', (sent or 0) + (age == 0 and 1 or 0))
  for _, event in ipairs(is_late and redis.pcall('XRANGE', KEYS[6], first, '+') or {}) do
    if event[2][2] == 'turn_started' and event[2][4] == turn then
      return true
    end
  end
end

-- Returns the answer to who begins a turn that is over: stored, or begun by an earlier try and dropped
-- since; or that nobody knows. Nothing if it was never begun. One that is not in the thread up to the
-- version `searched` may have come there since, and be forgotten: the id that a caller gave is known
-- for 500 versions, any other for 64.
local function over(turn, given, searched, doubtful, is_gone)
  local done = (is_late or ARGV[14] ~= '') and recall('=' .. turn)
  local others = version - (tonumber(searched) or version) -- have come since
  if done then
    return {nonce, 'done', done}
  elseif doubtful and searched == '' or others >= (given == '=' and 500 or 64) then
    return {nonce, 'unsure', version}
  elseif is_gone or was_begun(turn) then
    return {nonce, 'superseded'}
  end
end
