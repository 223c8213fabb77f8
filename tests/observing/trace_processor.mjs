// Opens a trace in Perfetto's own trace processor (WebAssembly) and answers SQL queries.
// usage: node trace_processor.mjs FOLDER TRACE < queries.json > rows.json
// FOLDER has trace_processor.wasm, engine_bundle.node.js (its loader, for a web worker) and engine.mjs.
import { readFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import vm from "node:vm";

const [folder, trace] = process.argv.slice(2);
const file = (name) => path.resolve(folder, name);
const { EngineBase } = await import(pathToFileURL(file("engine.mjs")).href);

class Engine extends EngineBase {
  mode = "WASM";
  id = "trace";

  constructor(port) {
    super();
    this.port = port;
    port.onmessage = ({ data }) => this.onRpcResponseBytes(data);
  }

  rpcSendRequestBytes(bytes) {
    this.port.postMessage(bytes);
  }
}

// The loader expects to run in a worker, and reads the processor at once with a synchronous request.
class XMLHttpRequest {
  open(_, name) {
    this.response = readFileSync(file(path.basename(String(name))));
  }

  send() {}
}

globalThis.self = globalThis;
globalThis.location = { href: pathToFileURL(file("engine_bundle.node.js")).href };
globalThis.WorkerGlobalScope = function () {};
globalThis.XMLHttpRequest = XMLHttpRequest;
vm.runInThisContext(readFileSync(file("engine_bundle.node.js"), "utf8"));

const { port1, port2 } = new MessageChannel();
self.onmessage({ data: port1 });
const engine = new Engine(port2);
await engine.parse(new Uint8Array(readFileSync(trace)));
await engine.notifyEof();

const answers = [];
for (const query of JSON.parse(readFileSync(0, "utf8"))) {
  const result = await engine.query(query);
  const rows = [];
  for (const row = result.iter({}); row.valid(); row.next()) {
    rows.push(Object.fromEntries(result.columns().map((name) => [name, row.get(name)])));
  }
  answers.push(rows);
}
process.stdout.write(
  JSON.stringify(answers, (_, value) => (typeof value === "bigint" ? Number(value) : value)),
  () => process.exit(0),
);
