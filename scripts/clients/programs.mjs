// One small program a client of JavaScript: NAME URL MODEL, texts as JSON on stdin; see programs.py.

import { readFileSync } from "node:fs";

const [name, url, model] = process.argv.slice(2);
const texts = JSON.parse(readFileSync(0, "utf8"));

const programs = {
  async openai() {
    const { default: OpenAI } = await import("openai");
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
    const vectors = async (options) =>
      (await client.embeddings.create({ model, input: texts, ...options })).data.map((one) => one.embedding);
    return {
      "embeddings.create, base64": await vectors({}),
      "embeddings.create, float": await vectors({ encoding_format: "float" }),
    };
  },
  async langchain() {
    const { OpenAIEmbeddings } = await import("@langchain/openai");
    const embeddings = new OpenAIEmbeddings({ model, apiKey: "none", configuration: { baseURL: `${url}/v1` } });
    return {
      embedDocuments: await embeddings.embedDocuments(texts),
      embedQuery: [await embeddings.embedQuery(texts[0])],
    };
  },
  async vercel() {
    const { embed, embedMany } = await import("ai");
    const { createOpenAICompatible } = await import("@ai-sdk/openai-compatible");
    const provider = createOpenAICompatible({ name: "edge", baseURL: `${url}/v1`, apiKey: "none" });
    const chosen = provider.textEmbeddingModel(model);
    return {
      embedMany: (await embedMany({ model: chosen, values: texts })).embeddings,
      embed: [(await embed({ model: chosen, value: texts[0] })).embedding],
    };
  },
  async ollama() {
    const { Ollama } = await import("ollama");
    const client = new Ollama({ host: url });
    const listed = (await client.list()).models.map((one) => one.name);
    return {
      embed: (await client.embed({ model, input: texts })).embeddings,
      embeddings: [(await client.embeddings({ model, prompt: texts[0] })).embedding],
      list: listed.includes(`${model}:latest`) ? "named" : `refused: ${listed}`,
    };
  },
  async cohere() {
    const { CohereClient, CohereClientV2 } = await import("cohere-ai");
    const options = { token: "none", environment: url };
    const ask = { model, texts, inputType: "search_document" };
    const second = await new CohereClientV2(options).embed({ ...ask, embeddingTypes: ["float", "int8"] });
    const first = await new CohereClient(options).embed(ask);
    return {
      "CohereClientV2.embed, float": second.embeddings.float,
      "CohereClientV2.embed, int8": second.embeddings.int8,
      "CohereClient.embed": first.embeddings,
    };
  },
  async huggingface() {
    const { InferenceClient } = await import("@huggingface/inference");
    const client = new InferenceClient("none", { endpointUrl: url });
    return { "featureExtraction": await client.featureExtraction({ inputs: texts }) };
  },
};

let told;
try {
  told = await programs[name]();
} catch (error) {
  told = { failed: `${error.name}: ${error.message}` };
}
console.log("\n" + JSON.stringify(told));
