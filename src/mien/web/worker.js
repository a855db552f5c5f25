/** Runs the detector and the model in ONNX Runtime Web, beside the page. It fetches files and sends nothing. */

import { cut } from "./crop.js";
import { detect } from "./detector.js";
import { bgr } from "./pixels.js";
import { LEAST_SCORE, disagreement, leaning, withPrior } from "./words.js";

/** @typedef {import("./types.js").DeviceSite} DeviceSite */

const MAX_PIXELS = 100_000_000;

/** @type {any} */
let ort;
/** @type {any} */
let detector;
/** @type {any} */
let classifier;
/** @type {DeviceSite["model"]} */
let model;
/** @type {OffscreenCanvas | undefined} */
let canvas;

self.onmessage = async ({ data }) => {
  if (data.kind === "start") {
    start(data).then(
      () => postMessage({ kind: "ready" }),
      (error) => postMessage({ kind: "failed", message: `The reader could not start: ${error.message ?? error}` }),
    );
    return;
  }
  const { id, picture, name, minFace, choice } = data;
  try {
    const bitmap = picture instanceof Blob ? await decodeFile(picture, name) : picture;
    const answer = await read(bitmap, name, minFace, choice);
    if (picture instanceof Blob) {
      bitmap.close();
      postMessage({ id, answer });
    } else postMessage({ id, answer: { ...answer, bitmap } }, { transfer: [bitmap] });
  } catch (error) {
    postMessage({ id, error: /** @type {Error} */ (error).message ?? String(error) });
  }
};

/** @param {{site: DeviceSite, base: string, threads: number}} plan */
async function start({ site, base, threads }) {
  const address = (/** @type {{file: string}} */ { file }) => new URL(file, base).href;
  // ONNX Runtime compiles its WebAssembly while it loads; the page gives threads their time from when it has loaded.
  new PerformanceObserver((list) => {
    if (list.getEntriesByName(address(site.wasm)).length) postMessage({ kind: "loaded" });
  }).observe({ type: "resource", buffered: true });
  const networks = Promise.all([load(address(site.detector)), load(address(site.model))]);
  ort = await import(address(site.script));
  Object.assign(ort.env.wasm, { numThreads: threads, proxy: false, wasmPaths: { mjs: address(site.glue), wasm: address(site.wasm) } });
  ort.env.logLevel = "error";
  const [face, expression] = await networks;
  const options = { executionProviders: ["wasm"], graphOptimizationLevel: "all" };
  detector = await ort.InferenceSession.create(face, options);
  classifier = await ort.InferenceSession.create(expression, options);
  model = site.model;
}

/** @param {string} url @returns {Promise<Uint8Array>} */
async function load(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} is not there (status ${response.status})`);
  return new Uint8Array(await response.arrayBuffer());
}

/** @param {Blob} file @param {string} name */
async function decodeFile(file, name) {
  if (!file.size) throw new Error(`${name} is empty.`);
  try {
    return await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch {
    throw new Error(`${name} is no picture that this browser can read. JPEG, PNG, WebP and GIF work everywhere.`);
  }
}

/**
 * @param {ImageBitmap} bitmap
 * @param {string} name
 * @param {number | null} minFace
 * @param {import("./types.js").Choice} choice
 */
async function read(bitmap, name, minFace, choice) {
  const { width, height } = bitmap;
  if (width * height > MAX_PIXELS) throw new Error(`${name} has ${width} × ${height} pixels; at most ${MAX_PIXELS / 1e6} million can be read here.`);
  const pixels = pixelsOf(bitmap);
  const begun = performance.now();
  const faces = await detect(pixels, minFace, LEAST_SCORE, runDetector);
  const found = performance.now();
  const answer = model.answers.find((each) => each.name === choice.answer) ?? model.answers[0];
  const probabilities = await classify(answer, choice, faces.map((face) => cut(pixels, face, model.manifest.crop, model.manifest.input)));
  const parts = { detect: found - begun, classify: performance.now() - found };
  const rows = faces.map((face, index) => rowOf(face, index, answer, probabilities[index], name));
  const about = { name: model.name, version: null, sha256: model.sha256, classes: answer.classes, answer: answer.name, prior: leaning(answer, choice).name };
  return { model: about, width, height, rows, parts };
}

/** @param {ImageBitmap} bitmap */
function pixelsOf(bitmap) {
  const { width, height } = bitmap;
  if (canvas?.width !== width || canvas.height !== height) canvas = new OffscreenCanvas(width, height);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
  context.fillStyle = "#fff"; // behind what is transparent, as in Python
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  return bgr(context.getImageData(0, 0, width, height).data, width, height);
}

/** @param {import("./pixels.js").Pixels} input */
async function runDetector(input) {
  const picture = new ort.Tensor("uint8", input.data, [1, input.height, input.width, 3]);
  const outputs = await detector.run({ picture });
  return { scores: outputs.scores.data, boxes: outputs.boxes.data, landmarks: outputs.landmarks.data };
}

/** @typedef {import("./types.js").DeviceAnswer} DeviceAnswer */

/** @param {DeviceAnswer} answer @param {import("./types.js").Choice} choice @param {Uint8Array[]} crops @returns {Promise<number[][]>} */
async function classify(answer, choice, crops) {
  if (!crops.length) return [];
  const { output, classes } = answer;
  const { factors } = leaning(answer, choice);
  const { input } = model.manifest;
  const size = crops[0].length;
  const data = new Uint8Array(size * crops.length);
  crops.forEach((crop, index) => data.set(crop, index * size));
  const tensor = new ort.Tensor("uint8", data, [crops.length, input.height, input.width, input.channels]);
  const outputs = await classifier.run({ [input.name]: tensor }, [output]);
  const values = outputs[output].data;
  const count = classes.length;
  return crops.map((_, index) => withPrior(Array.from(values.subarray(index * count, (index + 1) * count)), factors));
}

const rounded = (/** @type {number} */ value, /** @type {number} */ digits) => Number(value.toFixed(digits)) + 0;

/**
 * @param {import("./detector.js").Face} face
 * @param {number} index
 * @param {DeviceAnswer} answer
 * @param {number[]} shares
 * @param {string} name
 */
export function rowOf(face, index, { name: answer, classes }, shares, name) {
  const best = shares.indexOf(Math.max(...shares));
  return {
    source: name, frame: 0, time_s: null, face: index, track: null,
    box_xyxy: face.box.map((value) => rounded(value, 2)), score: rounded(face.score, 6), detector: face.detector,
    landmarks_xy: face.landmarks.map((point) => point.map((value) => rounded(value, 2))),
    label: classes[best], confidence: rounded(shares[best], 6),
    probabilities: Object.fromEntries(classes.map((/** @type {string} */ label, /** @type {number} */ i) => [label, rounded(shares[i], 6)])), error: null,
    answer, disagreement: rounded(disagreement(shares), 6), unsure: Number(shares[best] < 0.5), note: null,
  };
}
