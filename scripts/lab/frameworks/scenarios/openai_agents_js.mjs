// OpenAI Agents SDK: an agent as a tool of another; Chat Completions and Responses in turn.
import {
  Agent,
  OpenAIChatCompletionsModel,
  OpenAIResponsesModel,
  run,
  setTracingDisabled,
  tool,
} from "@openai/agents";
import OpenAI from "openai";
import { z } from "zod";
import { AFTERWARDS, KEY, MODEL, TASKS, at, found, sideBySide } from "./talk.mjs";

setTracingDisabled(true);

const model = (number, role, name) => {
  const client = new OpenAI({ baseURL: at(number, role, name, 1), apiKey: KEY });
  const Kind = number % 2 ? OpenAIResponsesModel : OpenAIChatCompletionsModel;
  return new Kind(client, MODEL);
};

const search = tool({
  name: "search",
  description: "search the web",
  parameters: z.object({ query: z.string() }),
  execute: async ({ query }) => found(query),
});

await sideBySide(async (number) => {
  const writer = new Agent({
    name: "Writer",
    instructions: "You write.",
    model: model(number, "helper", "writer"),
    tools: [search],
  });
  const askWriter = writer.asTool({ toolName: "ask_writer", toolDescription: "ask the writer" });
  const chief = new Agent({
    name: "Chief",
    instructions: "You lead.",
    model: model(number, "main", "chief"),
    tools: [search, askWriter],
  });
  let history = [];
  for (const text of [TASKS[number], ...AFTERWARDS]) {
    const said = await run(chief, [...history, { role: "user", content: text }]);
    history = said.history;
  }
});
