#!lua flags=no-writes
-- include: _open _checked _session _ops
-- Tell how a turn stands: whether it is open, or was committed, and which events tell of it.
-- ARGV  5 turn_id, or '' for the one that is open  6 events: through so many it looks, the last ones
-- Returns  nonce 'ok' version of the session  open turn or ''  ms left of its lease, below 0 if that
--            is over  '=' if a caller gave its id  what it waits for, as in park_turn
--            staged messages, of the turn asked for
--            version of the turn's commit, or 0 if that is not remembered
--            ids of the turn's first event and of that which ended it, each '' if it is not there
--            the session's agent and owner
--          those of _open and _session
local turn = ARGV[5]
if turn == '' then
  turn = open_turn or ''
end
local is_open = open_turn and open_turn == turn
local first, last, before, left = '', '', '+', tonumber(ARGV[6])
while turn ~= '' and first == '' and left > 0 do
  local events = redis.call('XREVRANGE', KEYS[6], before, '-', 'COUNT', math.min(left, 100))
  for _, event in ipairs(events) do
    local kind = event[2][4] == turn and event[2][2]
    if kind == 'turn_started' then
      first = event[1]
      break
    elseif last == '' and not is_open and (kind == 'agent_response' or kind == 'turn_failed') then
      last = event[1]
    end
  end
  before, left = #events == 100 and '(' .. events[100][1] or '', #events == 100 and left - 100 or 0
end
return {nonce, 'ok', version, open_turn or '', (tonumber(head[17]) or 0) - now, named, waits,
  is_open and redis.call('LRANGE', KEYS[3], 0, -1) or {}, turn ~= '' and recall('=' .. turn) or 0,
  first, last, redis.call('HGET', KEYS[4], 'agent') or '', owner}
