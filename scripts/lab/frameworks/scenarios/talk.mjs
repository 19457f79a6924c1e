// What the scenarios share: where the model is, who asks it, and what the user says (see talk.py).
export const KEY = "sk-lab-0123456789abcdef0123456789";
export const MODEL = "lab-1";
export const TASKS = [
  "Write a short report on the battery storage market for the board, with sources.",
  "Plan a weekend trip to a small town by train, with a budget.",
  "Find out why the invoice import fails for two customers and propose a fix.",
  "Write a short report on the battery storage market for the board, with sources.",
];
export const AFTERWARDS = ["Now make it shorter.", "Thanks. And what about the costs?"];

export const at = (number, role, agent, steps = 2) =>
  `${process.env.LAB_URL}/as/${process.env.LAB_SCENARIO}/${number}/${role}/${agent}/${steps}/v1`;
export const found = (query) => `3 results for ${query}: nothing new`;
export const sideBySide = (converse) => Promise.all(TASKS.map((task, number) => converse(number)));
