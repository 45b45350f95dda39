// What pages of the AI SDK and of AG-UI see of an agent of ours, as JSON: node use_chat.mjs A B KEY
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [one, other, key] = process.argv.slice(2);
// The packages are where the test has installed them, which is its working folder.
const require = createRequire(pathToFileURL(process.cwd() + '/'));
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const {
  DefaultChatTransport, lastAssistantMessageIsCompleteWithApprovalResponses,
  lastAssistantMessageIsCompleteWithToolCalls,
} = await load('ai');
const { Chat } = await load('@ai-sdk/react');
const { HttpAgent } = await load('@ag-ui/client');
const headers = { Authorization: `Bearer ${key}` };
const failures = [];
const heard = {};

// --- useChat, which is this class and a component around it
let base = one; // the instance that requests go to
function chatOf(id, more = {}) {
  const transport = new DefaultChatTransport({
    api: 'http://proxy/api/chat', headers,
    fetch: (url, options) => fetch(url.replace('http://proxy', base), options),
  });
  return new Chat({ id, transport, onError: (error) => failures.push(`${id}: ${error.message}`), ...more });
}
const text = (message) => message.parts.filter((part) => part.type === 'text').map((part) => part.text).join('|');
const tools = (message) => message.parts.filter((part) => part.type.startsWith('tool-'));
const until = async (is) => { while (!is()) await new Promise((go) => setTimeout(go, 20)); };
const stored = async (id) => (await (await fetch(`${one}/api/chat/${id}`, { headers })).json()).messages;
// As far as both have it: thoughts are not kept, and neither are states of a stream.
const plain = (messages) => messages.map((message) => [message.id, message.role, text(message)]);

const weather = chatOf('weather');
await weather.sendMessage({ text: 'weather' });
heard.weather = {
  text: text(weather.lastMessage), tool: tools(weather.lastMessage)[0],
  thought: weather.lastMessage.parts.find((part) => part.type === 'reasoning')?.text,
  tokens: weather.lastMessage.metadata.usage.totalTokens,
  same: JSON.stringify(plain(weather.messages)) === JSON.stringify(plain(await stored('weather'))),
};

// The connection is lost in the middle, and the page goes on at another instance.
const cut = chatOf('cut');
const sent = cut.sendMessage({ text: 'slowly' });
await until(() => cut.lastMessage?.role === 'assistant' && text(cut.lastMessage).length > 20);
await cut.stop();
await sent;
const begun = text(cut.lastMessage);
base = other;
await cut.resumeStream();
heard.cut = { begun, text: text(cut.lastMessage), count: cut.messages.length, parts: cut.lastMessage.parts.length };
await cut.resumeStream(); // there is nothing to resume any more
heard.cut.status = cut.status;

// A page that was opened anew has what is stored, and the rest of what is under way.
base = one;
const left = chatOf('left');
const leaving = left.sendMessage({ text: 'slowly' });
await until(() => left.lastMessage?.role === 'assistant' && text(left.lastMessage).length > 20);
await left.stop();
await leaving;
const opened = chatOf('left', { messages: await stored('left') });
await opened.resumeStream();
heard.opened = { text: text(opened.lastMessage), count: opened.messages.length };

// Approvals, by a chat that sends them by itself.
for (const approved of [true, false]) {
  const chat = chatOf(`refund-${approved}`, { sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses });
  await chat.sendMessage({ text: 'refund' });
  const [part] = tools(chat.lastMessage);
  const asked = part.state;
  await chat.addToolApprovalResponse({ id: part.approval.id, approved, reason: 'not today' });
  await until(() => chat.status === 'ready' && text(chat.lastMessage).includes('refund:') || failures.length);
  heard[`approved-${approved}`] = { asked, state: tools(chat.lastMessage)[0].state, text: text(chat.lastMessage), count: chat.messages.length };
}

// Tools of the page, run when they are called.
let runs = 0;
const client = chatOf('client', {
  sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithToolCalls,
  onToolCall({ toolCall }) {
    runs += 1;
    void client.addToolOutput({ tool: toolCall.toolName, toolCallId: toolCall.toolCallId, output: { at: [1, 2] } });
  },
});
await client.sendMessage({ text: 'weather, and locate' });
await until(() => client.status === 'ready' && text(client.lastMessage).includes('locate:') || failures.length);
heard.client = { runs, text: text(client.lastMessage), states: tools(client.lastMessage).map((part) => part.state) };

// Another answer, and another question.
const again = chatOf('again');
await again.sendMessage({ text: 'one' });
const first = again.lastMessage.id;
await again.regenerate();
const second = again.lastMessage.id;
await again.sendMessage({ text: 'two', messageId: again.messages[0].id });
heard.again = {
  other: first !== second, text: text(again.lastMessage),
  same: JSON.stringify(plain(again.messages)) === JSON.stringify(plain(await stored('again'))),
};

const stopped = chatOf('stopped');
const stopping = stopped.sendMessage({ text: 'slowly' });
await until(() => stopped.lastMessage?.role === 'assistant' && text(stopped.lastMessage).length > 20);
await fetch(`${other}/api/chat/stopped/stream`, { method: 'DELETE', headers });
await stopping;
heard.stopped = { status: stopped.status, cut: text(stopped.lastMessage).length < 140 };

heard.failures = [...failures];
const broken = chatOf('broken');
await broken.sendMessage({ text: 'break' });
heard.broken = { status: broken.status, message: broken.error.message };

// --- AG-UI
const agentOf = (threadId, url = one) => new HttpAgent({ url: `${url}/agui`, threadId, headers });
const last = (agent) => agent.messages.at(-1);
const say = (agent, content) => agent.addMessage({ id: `${agent.threadId}-${agent.messages.length}`, role: 'user', content });
const runs_ = {};

const talk = agentOf('talk');
say(talk, 'weather');
await talk.runAgent();
say(talk, 'Hi');
await talk.runAgent();
runs_.talk = { roles: talk.messages.map((message) => message.role), text: last(talk).content };

const shout = [{ name: 'shout', description: 'Shout.', parameters: { type: 'object' } }];
const own = agentOf('own');
say(own, 'shout');
let ended;
await own.runAgent({ tools: shout }, { onRunFinishedEvent: (found) => { ended = found; } });
own.addMessage({ id: 'result', role: 'tool', toolCallId: ended.pendingToolCallIds[0], content: 'loud' });
await own.runAgent({ tools: shout });
runs_.own = { outcome: ended.outcome, pending: ended.pendingToolCallIds.length, text: last(own).content, roles: own.messages.map((message) => message.role) };

const asking = agentOf('asking');
say(asking, 'refund');
await asking.runAgent();
const [interrupt] = asking.pendingInterrupts;
await asking.runAgent({ resume: [{ interruptId: interrupt.id, status: 'resolved', payload: { approved: true } }] });
runs_.asking = { reason: interrupt.reason, text: last(asking).content, left: asking.pendingInterrupts.length, roles: asking.messages.map((message) => message.role) };

// Cut on one instance, and asked for again on another one.
const half = agentOf('half');
say(half, 'slowly');
const running = half.runAgent().catch(() => {});
await until(() => last(half)?.role === 'assistant' && last(half).content?.length > 20);
half.abortRun();
await running;
half.url = `${other}/agui`;
await half.runAgent();
runs_.half = { roles: half.messages.map((message) => message.role), text: last(half).content, thought: half.messages.find((message) => message.role === 'reasoning')?.content };

const empty = agentOf('half', other);
await empty.runAgent();
runs_.empty = { roles: empty.messages.map((message) => message.role), text: last(empty).content };

const failed = agentOf('failed');
say(failed, 'break');
let error;
await failed.runAgent({}, { onRunErrorEvent: ({ event }) => { error = event.code; } }).catch(() => {});
runs_.failed = error;
heard.agui = runs_;
console.log(JSON.stringify(heard));
process.exit(0);
