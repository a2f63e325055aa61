// The page of edge_embed's service. What users and models say is only ever set as textContent.

const LIMIT = { compare: 40, search: 2048 };  // rows of a matrix that a person can read; inputs of one search
const SHOWN = 50;  // passages of a ranking
const AT_ONCE = 64;  // inputs of one request
const KEPT = 5000;  // vectors
const IMAGES = 64;
const SIDES = ["query", "document"];
const PRECISIONS = [
  { name: "binary", bytes: (dim) => Math.ceil(dim / 8), reduce: signs },
  { name: "int8", bytes: (dim) => dim, reduce: steps },
  { name: "float32", bytes: (dim) => 4 * dim, reduce: (vector) => vector },
];
const EXAMPLES = {
  texts: ["A cat sleeps on the warm windowsill.", "The kitten is napping in the sun.", "Dogs bark at the postman.",
    "Interest rates rose by half a percent.", "The central bank raised the cost of borrowing.",
    "Stir the risotto until the rice is creamy.", "Simmer the stock and add it by the ladle."],
  question: "How do I grow herbs indoors?",
  passages: ["The kettle whistles when the water boils.", "Shares of home builders fell as interest rates rose.",
    "Basil wants warmth, light and a pot that drains.", "Mint spreads quickly; keep it in a container of its own.",
    "Turn a pot on the windowsill every week, so that the plant grows straight.",
    "The museum of modern art is closed on Mondays.", "A tomato is, to a botanist, a berry."],
};

let VIEWS = ["compare", "search"];  // and "index", where the service searches one

const $ = (id) => document.getElementById(id);
const vectors = new Map();  // what was asked for -> Float32Array
const state = { view: "compare", models: [], images: [], key: "", shown: null, run: 0, abort: null, times: null };

// ---- the service

async function call(path, body) {
  const headers = { accept: "application/json" };
  if (body) headers["content-type"] = "application/json";
  if (state.key) headers.authorization = `Bearer ${state.key}`;
  const response = await fetch(new URL(path, document.baseURI), {
    method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), signal: state.abort?.signal,
  });
  const answer = await response.json().catch(() => null);
  if (response.status === 401) $("key-form").hidden = false;
  if (!response.ok) {
    const told = answer?.error?.message ?? answer?.detail ?? answer?.error;
    throw new Error(typeof told === "string" ? told : `the server answered ${response.status} ${response.statusText}`);
  }
  return { answer, headers: response.headers };
}

function decode(embedding) {
  if (Array.isArray(embedding)) return Float32Array.from(embedding);
  const bytes = Uint8Array.from(atob(embedding), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, n) => view.getFloat32(4 * n, true));
}

/** Embed inputs, those alone that were not before; one Float32Array each. */
async function embed(inputs, side) {
  const model = side ? `${$("model").value}:${side}` : $("model").value;
  const task = $("task").value;  // empty where the model has none
  const names = inputs.map((input) => JSON.stringify([model, task, input.id ?? input]));
  const seen = new Map(names.map((name, n) => [name, inputs[n]]));
  const missing = [...seen].filter(([name]) => !vectors.has(name));
  if (vectors.size + missing.length > KEPT) vectors.clear();
  const wanted = [...seen].filter(([name]) => !vectors.has(name));
  for (let start = 0; start < wanted.length; start += AT_ONCE) {
    const part = wanted.slice(start, start + AT_ONCE);
    const began = performance.now();
    const { answer, headers } = await call("v1/embeddings", {
      model, input: part.map(([, input]) => input.data ? { image: input.data } : input), encoding_format: "base64",
      ...(task && { task }),
    });
    note(part.length, performance.now() - began, answer.usage, headers);
    for (const { index, embedding } of answer.data) vectors.set(part[index][0], decode(embedding));
  }
  return names.map((name) => vectors.get(name));
}

function note(inputs, milliseconds, usage, headers) {
  const times = state.times;
  times.inputs += inputs;
  times.wall += milliseconds;
  times.tokens += usage?.prompt_tokens ?? usage?.total_tokens ?? 0;
  times.cut += Number(headers.get("edge-embed-truncated") ?? 0);
  for (const [, name, duration] of (headers.get("server-timing") ?? "").matchAll(/(\w+);dur=([\d.]+)/g)) {
    times[name] = (times[name] ?? 0) + Number(duration);
  }
}

// ---- vectors

function unit(vector) {
  const norm = Math.hypot(...vector) || 1;
  return vector.map((value) => value / norm);
}

function signs(vector) {
  return vector.map((value) => value > 0 ? 1 : -1);
}

function steps(vector) {
  const peak = vector.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;
  return vector.map((value) => Math.round(127 * value / peak));
}

function similarities(rows, columns, dim, precision) {
  const reduce = (vector) => unit(precision.reduce(unit(vector.subarray(0, dim))));
  const [left, right] = [rows.map(reduce), columns.map(reduce)];
  return left.map((a) => right.map((b) => a.reduce((sum, value, n) => sum + value * b[n], 0)));
}

function correlation(a, b) {
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [x, y] = [mean(a), mean(b)];
  const sum = (part) => a.reduce((total, _, n) => total + part(a[n] - x, b[n] - y), 0);
  const spread = Math.sqrt(sum((u) => u * u) * sum((_, v) => v * v));
  return spread ? sum((u, v) => u * v) / spread : NaN;
}

const order = (scores) => scores.map((_, n) => n).sort((a, b) => scores[b] - scores[a] || a - b);

// ---- what is shown

function element(name, text, classes) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (classes) made.className = classes;
  return made;
}

const heat = (node, share) => node.style.setProperty("--heat", Math.max(0, Math.min(1, share)).toFixed(3));

function label(input, size) {
  if (!input.data) return [document.createTextNode(input)];
  const canvas = element("canvas");
  [canvas.width, canvas.height] = [size, size];
  const scale = size / Math.min(input.bitmap.width, input.bitmap.height);
  const [wide, high] = [input.bitmap.width * scale, input.bitmap.height * scale];
  canvas.getContext("2d").drawImage(input.bitmap, (size - wide) / 2, (size - high) / 2, wide, high);
  return [canvas, document.createTextNode(input.name)];
}

function chosen() {
  const dims = state.dims ?? [1];
  return { dim: dims[$("dims").value] ?? dims.at(-1), precision: PRECISIONS[$("precision").value] };
}

/** Show the last answer at the chosen size, and what that size loses against the whole vector. */
function draw() {
  const { dim, precision } = chosen();
  $("dims-value").textContent = state.dims ? dim : "";
  $("precision-value").textContent = precision.name;
  if (!state.shown) return;
  const { inputs, rows, columns } = state.shown;
  const full = rows[0].length;
  const exact = similarities(rows, columns, full, PRECISIONS[2]);
  const whole = dim === full && precision.name === "float32";
  const scores = whole ? exact : similarities(rows, columns, dim, precision);
  const bytes = precision.bytes(dim);
  const times = whole ? "" : ` — ${(4 * full / bytes).toFixed(1).replace(".0", "")} times smaller`;
  $("size").textContent = `${bytes.toLocaleString("en")} bytes a vector${times}`;
  const searching = state.shown.view === "search";
  if (state.view === "index") return;
  $("matrix").hidden = searching;
  $("ranking").hidden = !searching;
  const loss = searching ? drawRanking(inputs, scores[0], exact[0]) : drawMatrix(inputs, scores, exact);
  const trained = state.trained.length && !state.trained.includes(dim) ? ` The model was not trained to be cut to ${dim}.` : "";
  $("loss").textContent = (whole ? "The whole vector: move a slider to see what a smaller one loses." : loss) + trained;
}

function drawMatrix(inputs, scores, exact) {
  const pairs = (table) => table.flatMap((row, n) => row.slice(n + 1));
  const [now, before] = [pairs(scores), pairs(exact)];
  const low = Math.min(...now, 0), high = Math.max(...now, low + 1e-9);
  const head = element("tr");
  head.append(element("td", "", "corner"), ...inputs.map((_, n) => numbered(n)));
  const body = scores.map((row, n) => {
    const line = element("tr");
    const name = element("th");
    name.scope = "row";
    name.title = inputs[n].name ?? inputs[n];
    name.append(element("i", n + 1), ...label(inputs[n], 28));
    line.append(name, ...row.map((value, m) => {
      const share = (value - low) / (high - low);
      const cell = element("td", value.toFixed(2), n === m ? "self" : share > 0.8 ? "hot" : share > 0.64 ? "warm" : "");
      cell.title = `${value.toFixed(4)}, of the whole vectors ${exact[n][m].toFixed(4)}`;
      heat(cell, n === m ? 0 : share);
      return cell;
    }));
    return line;
  });
  $("matrix").replaceChildren(head, ...body);
  if (now.length < 2) return "";
  const nearest = (row, n) => order(row).find((m) => m !== n);
  const kept = scores.filter((row, n) => nearest(row, n) === nearest(exact[n], n)).length;
  const worst = Math.max(...now.map((value, n) => Math.abs(value - before[n])));
  return `Against the whole vector: similarities correlate at ${correlation(now, before).toFixed(3)}, the largest moved by `
    + `${worst.toFixed(3)}, and ${kept} of ${inputs.length} keep their nearest neighbour.`;
}

function numbered(n) {
  const head = element("th", n + 1);
  head.scope = "col";
  return head;
}

function drawRanking(inputs, scores, exact) {
  const now = order(scores), places = order(exact);
  const before = new Map(places.map((n, place) => [n, place]));
  const low = Math.min(...scores, 0), high = Math.max(...scores, low + 1e-9);
  $("ranking").replaceChildren(...now.slice(0, SHOWN).map((n, place) => {
    const item = element("li");
    const text = element("span", undefined, "text");
    text.append(...label(inputs[n], 44));
    const by = before.get(n) - place;
    const bar = element("span", undefined, "bar");
    heat(bar, (scores[n] - low) / (high - low));
    item.append(element("span", scores[n].toFixed(3), "score"), text, element("span", arrow(by), "moved"), bar);
    return item;
  }));
  $("more").hidden = now.length <= SHOWN;
  $("more").textContent = `The best ${SHOWN} of ${now.length.toLocaleString("en")}.`;
  const moved = now.filter((n, place) => before.get(n) !== place).length;
  const top = Math.min(3, now.length);
  const kept = now.slice(0, top).filter((n) => before.get(n) < top).length;
  const agree = now.length > 1 ? `scores correlate at ${correlation(scores, exact).toFixed(3)}, ` : "";
  return `Against the whole vector: ${agree}${moved} of ${now.length} change their place, and ${kept} of the best ${top} `
    + "stay among them.";
}

const arrow = (by) => by ? `${by > 0 ? "▲" : "▼"} ${Math.abs(by)}` : "";

function drawTiming() {
  const times = state.times;
  if (!times?.inputs) return;
  const parts = [["tok", "tokenising"], ["queue", "waiting"], ["compute", "the engine"]]
    .filter(([name]) => times[name] !== undefined).map(([name, word]) => `${word} ${times[name].toFixed(1)}`);
  const tokens = times.tokens ? `, ${times.tokens.toLocaleString("en")} tokens` : "";
  const cut = times.cut ? ` ${times.cut} ${times.cut === 1 ? "was" : "were"} longer than the model reads, and cut.` : "";
  $("timing").textContent = `${times.inputs.toLocaleString("en")} inputs${tokens}: ${times.wall.toFixed(0)} ms in all`
    + `${parts.length ? ` (on the server, ms: ${parts.join(", ")})` : ""}.${cut}`;
}

function complain(error) {
  $("error").hidden = !error;
  $("error").textContent = error ?? "";
}

// ---- what is done

const lines = (id) => $(id).value.split("\n").map((line) => line.trim()).filter(Boolean);

async function run() {
  const number = ++state.run;
  state.abort?.abort();
  state.abort = new AbortController();
  const view = state.view;
  const texts = view === "search" ? lines("passages") : lines("texts");
  const all = [...(takesImages() ? state.images : []), ...texts];
  const inputs = all.slice(0, LIMIT[view]);
  const question = $("question").value.trim();
  if (!$("model").value || inputs.length < 1 || (view === "search" && !question)) return;
  state.times = { inputs: 0, wall: 0, tokens: 0, cut: 0 };
  document.body.classList.add("busy");
  try {
    const columns = await embed(inputs, view === "search" ? "document" : "");
    const rows = view === "search" ? await embed([question], "query") : columns;
    if (number !== state.run) return;
    state.shown = { view, inputs, rows, columns };
    complain(all.length > inputs.length ? `Only the first ${inputs.length} of ${all.length} are shown.` : null);
    offerDims(rows[0].length);
    draw();
    drawTiming();
  } catch (error) {
    if (number === state.run && error.name !== "AbortError") complain(error.message);
  } finally {
    if (number === state.run) document.body.classList.remove("busy");
  }
}

/** Where a hit stands, as compilers say it. */
function place(hit) {
  if (hit.page !== undefined) return `${hit.path}, page ${hit.page}`;
  return `${hit.path ?? hit.id}${hit.line !== undefined ? `:${hit.line}` : ""}`;
}

async function searchIndex() {
  const number = ++state.run;
  state.abort?.abort();
  state.abort = new AbortController();
  const query = $("wanted").value.trim();
  $("hits").replaceChildren();
  $("more").hidden = true;
  $("timing").textContent = "";
  if (!query) return;
  const paths = $("globs").value.split(/[ ,]+/).filter(Boolean);
  const began = performance.now();
  document.body.classList.add("busy");
  try {
    const { answer } = await call("v1/search", {
      query, top: SHOWN, index: $("which").value, ...(paths.length && { paths }), ...($("all").checked && { least: -1 }),
    });
    if (number !== state.run) return;
    complain(null);
    $("hits").replaceChildren(...answer.hits.map((hit) => {
      const item = element("li");
      item.append(element("span", hit.score.toFixed(3), "score"), element("span", place(hit), "place"), element("p", hit.text));
      return item;
    }));
    $("more").hidden = answer.hits.length > 0;
    $("more").textContent = "Nothing fits.";
    $("timing").textContent = `${answer.hits.length} passages: ${(performance.now() - began).toFixed(0)} ms in all.`;
  } catch (error) {
    if (number === state.run && error.name !== "AbortError") complain(error.message);
  } finally {
    if (number === state.run) document.body.classList.remove("busy");
  }
}

const act = () => state.view === "index" ? searchIndex() : run();
const entry = () => state.models.find((model) => model.id === $("model").value);
const takesImages = () => Boolean(entry()?.edge_embed?.images);

/** Offer the dimensions that the model was trained for, or halves where it does not say. */
function offerDims(full) {
  const trained = (entry()?.edge_embed?.matryoshka_dims ?? []).filter((dim) => dim < full);
  const halves = [32, 16, 8, 4, 2].map((part) => Math.floor(full / part)).filter((dim) => dim >= 8);
  const dims = [...(trained.length ? trained.sort((a, b) => a - b) : halves), full];
  if (state.dims?.join() === dims.join()) return;
  state.dims = dims;
  state.trained = entry()?.edge_embed?.matryoshka_dims ? [...trained, full] : [];
  $("dims").max = dims.length - 1;
  $("dims").value = dims.length - 1;
}

function choose() {
  const base = $("model").value, about = entry()?.edge_embed;
  const variants = state.all.filter((id) => id.startsWith(`${base}:`)).map((id) => id.slice(base.length + 1));
  const tasks = about?.tasks ?? variants.filter((variant) => !SIDES.includes(variant) && variant !== "latest");
  $("task").replaceChildren(...tasks.map((task) => new Option(task)));
  $("task-field").hidden = tasks.length < 2;
  $("images").hidden = !takesImages();
  $("about").textContent = about ? [`${about.dim} dimensions`, `texts of up to ${about.max_tokens?.toLocaleString("en")} tokens`,
    about.level, about.images ? "texts and images" : ""].filter(Boolean).join(" · ") : "";
  state.dims = null;
  state.shown = null;
  act();
}

async function begin() {
  try {
    const { answer } = await call("v1/models");
    state.all = answer.data.map((model) => model.id);
    const isVariant = (id) => id.includes(":") && state.all.includes(id.slice(0, id.lastIndexOf(":")));
    state.models = answer.data.filter((model) => !isVariant(model.id));
    $("model").replaceChildren(...state.models.map((model) => new Option(model.id)));
    $("key-form").hidden = true;
    complain(null);
    const indexes = (await call("v1/indexes")).answer.indexes;
    $("which").replaceChildren(...indexes.map((index) => new Option(index.name)));
    $("which").parentElement.hidden = indexes.length < 2;
    $("tab-index").hidden = !indexes.length;
    VIEWS = indexes.length ? ["compare", "search", "index"] : ["compare", "search"];
    choose();
  } catch (error) {
    complain(error.message);
  }
}

async function take(files) {
  for (const file of [...files].filter((one) => one.type.startsWith("image/")).slice(0, IMAGES - state.images.length)) {
    try {
      const bitmap = await createImageBitmap(file);
      const data = await new Promise((resolve, reject) => {
        const reader = new FileReader();
        reader.onload = () => resolve(reader.result);
        reader.onerror = () => reject(reader.error);
        reader.readAsDataURL(file);
      });
      state.images.push({ id: `image ${crypto.getRandomValues(new Uint32Array(2)).join("")}`, name: file.name, data, bitmap });
    } catch (error) {
      complain(`${file.name} cannot be read as an image: ${error.message}`);
    }
  }
  drawThumbs();
  run();
}

function drawThumbs() {
  $("thumbs").replaceChildren(...state.images.map((image) => {
    const item = element("li"), button = element("button");
    button.type = "button";
    button.title = `${image.name}: remove`;
    button.setAttribute("aria-label", button.title);
    button.append(label(image, 56)[0]);
    button.addEventListener("click", () => {
      state.images = state.images.filter((one) => one !== image);
      drawThumbs();
      run();
    });
    item.append(button);
    return item;
  }));
}

function show(view) {
  state.view = view;
  for (const name of VIEWS) {
    $(name).hidden = name !== view;
    $(`tab-${name}`).setAttribute("aria-selected", name === view);
    $(`tab-${name}`).tabIndex = name === view ? 0 : -1;
  }
  const index = view === "index";
  $("dials").hidden = index;
  $("hits").hidden = !index;
  $("more").hidden = true;
  if (index) $("matrix").hidden = $("ranking").hidden = true;
  $("images").hidden = index || !takesImages();
  if (index) $("wanted").focus();
  act();
}

for (const view of ["compare", "search", "index"]) {
  $(`tab-${view}`).addEventListener("click", () => show(view));
  $(`tab-${view}`).addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    const next = VIEWS[(VIEWS.indexOf(view) + by + VIEWS.length) % VIEWS.length];
    show(next);
    $(`tab-${next}`).focus();
  });
  $(view).addEventListener("submit", (event) => { event.preventDefault(); act(); });
  $(view).addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) act(); });
}
$("which").addEventListener("change", act);
$("all").addEventListener("change", act);
$("key-form").addEventListener("submit", (event) => { event.preventDefault(); state.key = $("key").value.trim(); begin(); });
$("model").addEventListener("change", choose);
$("task").addEventListener("change", run);
$("dims").addEventListener("input", draw);
$("precision").addEventListener("input", draw);
$("files").addEventListener("change", () => { take($("files").files); $("files").value = ""; });
$("drop").addEventListener("dragover", (event) => { event.preventDefault(); $("drop").classList.add("over"); });
$("drop").addEventListener("dragleave", () => $("drop").classList.remove("over"));
$("drop").addEventListener("drop", (event) => { event.preventDefault(); $("drop").classList.remove("over"); take(event.dataTransfer.files); });
$("texts").value = EXAMPLES.texts.join("\n");
$("question").value = EXAMPLES.question;
$("passages").value = EXAMPLES.passages.join("\n");
begin();
