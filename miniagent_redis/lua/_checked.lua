-- Follows _open.lua in every script but two: one that fails half way keeps what it wrote. begin_turn and
-- commit_turn run in every turn, and save the time: there a command that needs the type meets each
-- key before anything is written, and they ask when one failed, or for an answer without a write.
refused = refusal()
if refused then
  return refused
end
