// Reads a JSON list of texts a line, writes their vectors as JSON: node transformers.mjs MODULES MODEL DTYPE THREADS
import { createInterface } from "node:readline";
import { createRequire } from "node:module";
import { dirname, basename } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, model, dtype, threads] = process.argv.slice(2);
const require = createRequire(pathToFileURL(modules + "/"));
const { pipeline, env } = await import(pathToFileURL(require.resolve("@huggingface/transformers")));
env.allowRemoteModels = false;
env.localModelPath = dirname(model);
const settings = { dtype, device: "cpu", session_options: { intraOpNumThreads: Number(threads) } };
const extract = await pipeline("feature-extraction", basename(model), settings);
console.log("ready");
for await (const line of createInterface({ input: process.stdin })) {
  const texts = JSON.parse(line);
  const rows = [];
  for (let start = 0; start < texts.length; start += 32) {
    const batch = await extract(texts.slice(start, start + 32), { pooling: "mean", normalize: true });
    rows.push(...batch.tolist());
  }
  console.log(JSON.stringify(rows));
}
