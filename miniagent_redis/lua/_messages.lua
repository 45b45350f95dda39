-- Follows _session.lua where events are read: which messages they tell of, see _events.lua.

-- Splits what an event says of where its message is: the position where its turn begins in the
-- thread, '' for one that may still be open; its place there; how it ends. Nothing if it has none.
local function place_of(fields)
  if fields[7] == 'at' then
    return string.match(fields[8], '^(%d*)%+(%d+) (.+)$')
  end
end

-- Returns where the turns of events begin in the thread: false for one that was dropped. Of two with
-- the same id the earlier one counts.
local function places_in(events, firsts)
  for i = #events, 1, -1 do
    local fields = events[i][2]
    local first = place_of(fields)
    if first and first ~= '' then
      firsts[fields[4]] = tonumber(first)
    elseif fields[2] == 'turn_failed' and firsts[fields[4]] == nil then
      firsts[fields[4]] = false
    end
  end
  return firsts
end

-- Does the same also for turns that end behind these events.
local function places_of_turns(events)
  local firsts = places_in(events, {})
  for _, entry in ipairs(events) do
    local turn = entry[2][4]
    if place_of(entry[2]) == '' and turn ~= open_turn and firsts[turn] == nil then
      local rest = redis.call('XRANGE', KEYS[6], '(' .. events[#events][1], '+')
      return places_in(events, places_in(rest, {}))
    end
  end
  return firsts
end

-- Returns the record of the message that an event tells of; '' if it has none, or that is gone.
-- `trimmed` is the position of the thread's first record. Of a thread that lost its end what is left
-- is told, so places count from there, not from the end as in _head.lua.
local function message_of(fields, firsts, trimmed)
  local first, index, ending = place_of(fields)
  if not first then
    return ''
  end
  local record
  if first == '' and fields[4] == open_turn then
    record = redis.call('LINDEX', KEYS[3], index)
  elseif first ~= '' or firsts[fields[4]] then
    local at = (tonumber(first) or firsts[fields[4]]) + index - trimmed
    record = at >= 0 and redis.call('LINDEX', KEYS[2], at)
  end
  return record and string.sub(record, -#ending) == ending and record or ''
end
