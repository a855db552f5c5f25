// Holds the page's crop, scale and decoding to what Python wrote into golden.json. Prints the largest differences as JSON.

import { readFileSync } from "node:fs";
import { inflateSync } from "node:zlib";
import { cut } from "../../src/mien/web/crop.js";
import { decode, detectionScale, resized } from "../../src/mien/web/detector.js";

const golden = JSON.parse(readFileSync(new URL("golden.json", import.meta.url)));
const bytes = (text) => new Uint8Array(inflateSync(Buffer.from(text, "base64")));
const pixels = ({ width, height, pixels: text }) => ({ data: bytes(text), width, height, channels: 3 });

function difference(a, b) {
  if (a.length !== b.length) return { largest: Infinity, mean: Infinity };
  let [largest, sum] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    largest = Math.max(largest, Math.abs(a[i] - b[i]));
    sum += Math.abs(a[i] - b[i]);
  }
  return { largest, mean: sum / a.length };
}

const picture = pixels(golden.picture);
const small = pixels(golden.small);
const crops = golden.crops.map(({ face, spec, target, crop }) => difference(cut(picture, face, spec, target), bytes(crop)));
const resizes = golden.resizes.map((each) => difference(resized(small, each.scale).data, bytes(each.pixels)));
const scales = golden.scales.map(({ width, height, min_face, scale }) => Math.abs(detectionScale(width, height, min_face) / scale - 1));
const { width, height, min_score, outputs, faces } = golden.decode;
const tensors = Object.fromEntries(Object.entries(outputs).map(([name, values]) => [name, Float32Array.from(values)]));
const found = decode(tensors, width, height, min_score);
const flat = (face) => [...face.box, ...face.landmarks.flat(), face.score];
console.log(JSON.stringify({ crops, resizes, scales, decode: difference(found.flatMap(flat), faces.flatMap(flat)), faces: found.length }));
