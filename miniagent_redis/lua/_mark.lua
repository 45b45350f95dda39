-- Follows where what a caller knows of the thread is compared with what is there: a server may have
-- lost the end of it and got as many other messages since, with the same epoch and count.

-- Returns the last bytes of the record in front of a position, or '' if there is none.
local function end_before(position)
  local record = position > 0 and redis.call('LINDEX', KEYS[2], position - 1)
  return record and string.sub(record, -256) or ''
end

-- Returns `start`, or 0 if the thread up to there is another one than that of the caller: it has
-- another epoch, or is shorter, or its last record is not that of `mark`, if one is given.
local function still(start, known_epoch, mark)
  local is_another = mark ~= '' and string.sub(end_before(start), -#mark) ~= mark
  return tonumber(known_epoch) == epoch and start <= count and not is_another and start or 0
end
