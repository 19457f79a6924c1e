// LangChain: an agent that asks another in a tool, with a checkpointer.
import { ChatOpenAI } from "@langchain/openai";
import { MemorySaver } from "@langchain/langgraph";
import { createAgent, tool } from "langchain";
import { z } from "zod";
import { AFTERWARDS, KEY, MODEL, TASKS, at, found, sideBySide } from "./talk.mjs";

const model = (number, role, name, steps) =>
  new ChatOpenAI({
    model: MODEL,
    apiKey: KEY,
    configuration: { baseURL: at(number, role, name, steps) },
  });

const search = tool(async ({ query }) => found(query), {
  name: "search",
  description: "search the web",
  schema: z.object({ query: z.string() }),
});

await sideBySide(async (number) => {
  const helper = createAgent({
    model: model(number, "helper", "researcher", 1),
    tools: [search],
    systemPrompt: "You are a researcher.",
  });
  const research = tool(
    async ({ task }) => {
      const said = await helper.invoke({ messages: [{ role: "user", content: task }] });
      return said.messages.at(-1).content;
    },
    {
      name: "research",
      description: "ask the research agent",
      schema: z.object({ task: z.string() }),
    },
  );
  const lead = createAgent({
    model: model(number, "main", "lead", 2),
    tools: [research, search],
    systemPrompt: "You lead.",
    checkpointer: new MemorySaver(),
  });
  for (const text of [TASKS[number], ...AFTERWARDS]) {
    const said = { messages: [{ role: "user", content: text }] };
    await lead.invoke(said, { configurable: { thread_id: "1" } });
  }
});
