-- Follows _open.lua in every script but begin_turn and commit_turn.
refused = refusal()
if refused then
  return refused
end
