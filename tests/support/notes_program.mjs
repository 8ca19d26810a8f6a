// An MCP server on standard input and output that keeps notes with a native module, for live tests.
// Beside it in the folder lies the package that its first argument names: better-sqlite3, or one with its API.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [name, file] = process.argv.slice(2);
const { default: Database } = await import(pathToFileURL(createRequire(import.meta.url).resolve(name)));
const database = new Database(file);
database.exec("CREATE TABLE IF NOT EXISTS notes (text TEXT)");
const insert = database.prepare("INSERT INTO notes VALUES (?)");
const all = database.prepare("SELECT text FROM notes ORDER BY rowid");

const answers = {
  initialize: ({ protocolVersion }) => ({
    protocolVersion,
    capabilities: { tools: {} },
    serverInfo: { name: "notes", version: "1" },
  }),
  ping: () => ({}),
  "tools/list": () => ({ tools: [{ name: "note", inputSchema: { type: "object" } }] }),
  "tools/call": ({ arguments: { text } }) => {
    insert.run(text);
    return { content: all.all().map((row) => ({ type: "text", text: row.text })) };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, method, params } = JSON.parse(line);
  if (id === undefined) continue;
  const answer = answers[method];
  const told = answer ? { result: answer(params) } : { error: { code: -32601, message: "Method not found" } };
  process.stdout.write(JSON.stringify({ jsonrpc: "2.0", id, ...told }) + "\n");
}
