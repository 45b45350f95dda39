// What the AI SDK hears from an agent of ours, as JSON: node ai_sdk.mjs BASE-URL KEY
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [baseURL, apiKey] = process.argv.slice(2);
// The packages are where the test has installed them, which is its working folder.
const require = createRequire(pathToFileURL(process.cwd() + '/'));
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const { createOpenAI } = (await load('@ai-sdk/openai'));
const { createOpenAICompatible } = (await load('@ai-sdk/openai-compatible'));
const { generateObject, generateText, stepCountIs, streamText, tool } = (await load('ai'));
const { z } = (await load('zod'));

const openai = createOpenAI({ baseURL, apiKey });
const compatible = createOpenAICompatible({
  name: 'ours', baseURL, apiKey, includeUsage: true, supportsStructuredOutputs: true,
});
const tools = {
  get_weather: tool({
    description: 'Tell the weather of a city.',
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => `sunny in ${city}`,
  }),
};
const stopWhen = stepCountIs(3);

async function streamed(options) {
  const failures = [];
  const stream = streamText({ ...options, onError: ({ error }) => failures.push(String(error)) });
  let text = '';
  for await (const piece of stream.textStream) text += piece;
  const tokens = (await stream.usage).totalTokens;
  return { text, failures, counted: tokens > 0 };
}

const heard = {};
const models = { responses: openai('demo'), chat: openai.chat('demo'), compatible: compatible('demo') };
for (const [name, model] of Object.entries(models)) {
  const first = await generateText({ model, prompt: 'My name is Ada' });
  const messages = [
    { role: 'user', content: 'My name is Ada' },
    ...first.response.messages,
    { role: 'user', content: 'What is my name?' },
  ];
  heard[name] = {
    named: (await generateText({ model, messages })).text,
    called: (await generateText({ model, prompt: 'How is it?', tools, stopWhen })).text,
    streamed: await streamed({ model, prompt: 'How is it?', tools, stopWhen }),
    summed: await streamed({ model, prompt: 'What is 6 * 7?' }),
    object: (await generateObject({ model, schema: z.object({ name: z.string() }), prompt: 'Hi' })).object,
  };
}
const first = await generateText({ model: openai('demo'), prompt: 'My name is Bo' });
const previousResponseId = first.providerMetadata.openai.responseId;
heard.behind = (await generateText({
  model: openai('demo'),
  prompt: 'What is my name?',
  providerOptions: { openai: { previousResponseId } },
})).text;
console.log(JSON.stringify(heard));
