// A chat in React: what is stored, what streams, approvals. Reload it in the middle of an answer.
import { useChat } from '@ai-sdk/react';
import { lastAssistantMessageIsCompleteWithApprovalResponses } from 'ai';
import { useState } from 'react';
import { createRoot } from 'react-dom/client';

function Part({ part, approve }) {
  if (part.type === 'text') return <p>{part.text}</p>;
  if (part.type === 'reasoning') return <details><summary>Thoughts</summary>{part.text}</details>;
  if (!part.type.startsWith('tool-')) return null;
  return <p><code>{part.type.slice(5)}({JSON.stringify(part.input)})</code> {part.state}
    {part.state === 'approval-requested' && [true, false].map((approved) =>
      <button key={approved} onClick={() => approve({ id: part.approval.id, approved })}>
        {approved ? 'Approve' : 'Deny'}</button>)}</p>;
}

function Talk({ id, messages }) {
  const [text, setText] = useState('');
  const chat = useChat({
    id, messages, resume: true, // goes on with the answer that is under way, at any instance
    sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses,
  });
  const send = (event) => {
    event.preventDefault();
    chat.sendMessage({ text });
    setText('');
  };
  const cancel = () => fetch(`/api/chat/${id}/stream`, { method: 'DELETE' });
  return <>
    {chat.messages.map((message) => <article key={message.id} className={message.role}>
      {message.parts.map((part, place) =>
        <Part key={place} part={part} approve={chat.addToolApprovalResponse} />)}</article>)}
    <form onSubmit={send}>
      <input aria-label="Message" value={text} onChange={(event) => setText(event.target.value)} />
      <button disabled={!text}>Send</button>
      <button type="button" disabled={chat.status === 'ready'} onClick={cancel}>Stop</button>
    </form>
    <p role="status">{chat.error ? chat.error.message : chat.status}</p>
  </>;
}

const id = location.hash.slice(1) || crypto.randomUUID();
history.replaceState(null, '', `#${id}`);
const stored = await fetch(`/api/chat/${id}`);
const messages = stored.ok ? (await stored.json()).messages : [];
createRoot(document.body).render(<Talk id={id} messages={messages} />);
