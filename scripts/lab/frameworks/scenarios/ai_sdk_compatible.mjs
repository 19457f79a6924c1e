// AI SDK, any OpenAI-compatible server: an agent whose tool is another; the main one streams.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import { AFTERWARDS, KEY, MODEL, TASKS, at, found, sideBySide } from "./talk.mjs";

const model = (url) => createOpenAICompatible({ name: "lab", baseURL: url, apiKey: KEY })(MODEL);

const search = tool({
  description: "search the web",
  inputSchema: z.object({ query: z.string() }),
  execute: async ({ query }) => found(query),
});

await sideBySide(async (number) => {
  const research = tool({
    description: "ask the research agent",
    inputSchema: z.object({ task: z.string() }),
    execute: async ({ task }) => {
      const said = await generateText({
        model: model(at(number, "helper", "researcher", 1)),
        system: "You are a research agent.",
        prompt: task,
        tools: { search },
        stopWhen: stepCountIs(5),
      });
      return said.text;
    },
  });
  const messages = [];
  for (const text of [TASKS[number], ...AFTERWARDS]) {
    messages.push({ role: "user", content: text });
    const said = streamText({
      model: model(at(number, "main", "orchestrator")),
      system: "You are the orchestrator.",
      messages,
      tools: { research, search },
      stopWhen: stepCountIs(6),
    });
    await said.consumeStream();
    messages.push(...(await said.response).messages);
  }
});
