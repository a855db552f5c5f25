/** Picture -> faces: `mien.detect` (scale, network, boxes, duplicates) in JavaScript, held to it by golden files. */

import { overlap } from "./live.js";
import { resize, round } from "./pixels.js";

/** @typedef {import("./pixels.js").Pixels} Pixels */
/** @typedef {import("./types.js").Box} Box */
/** @typedef {import("./types.js").Landmarks} Landmarks */
/** @typedef {{box: Box, score: number, landmarks: Landmarks, detector: string}} Face */
/** @typedef {{scores: Float32Array, boxes: Float32Array, landmarks: Float32Array}} Outputs  of all cells: [N], [4, N], [10, N] */

// The same numbers as in mien/detect/scaled.py and mien/detect/yunet.py.
const SMALLEST = 20;
const COARSE_SIDE = 192;
const SMALL_SIDE = 160;
const COARSE_FROM = 400;
const COARSE_SHARE = 1 / 3;
const COARSE_MOST = 320;
const MAX_ENLARGEMENT = 4;
const MAX_PIXELS = 4_000_000;
const MAX_SIDE = 16_384;
const LITTLE_TO_SHRINK = 0.75;
const LANDMARK_SLACK = 0.25;
const TOLERANCE = 0.8;
const SAME_FACE = 0.4;
const NMS = 0.45;
const STRIDES = [8, 16, 32];

/** The smallest face wanted when nobody says. @param {number} width @param {number} height */
export const automaticMinFace = (width, height) => Math.max(20, 0.02 * Math.min(Math.max(width, height), 2 * Math.min(width, height)));

/**
 * Factor from the picture to the one that the network is given.
 * @param {number} width
 * @param {number} height
 * @param {number | null} minFace
 */
export function detectionScale(width, height, minFace) {
  const longer = Math.max(width, height);
  const wanted =
    minFace === null
      ? Math.max(Math.min(SMALLEST / automaticMinFace(width, height), 1), SMALL_SIDE / longer)
      : Math.max(SMALLEST / minFace, Math.min(SMALL_SIDE / longer, 1));
  return Math.min(wanted, MAX_ENLARGEMENT, Math.sqrt(MAX_PIXELS / (width * height)), MAX_SIDE / longer);
}

/** @param {Pixels} pixels @param {number} scale @returns {Pixels} */
function exactly(pixels, scale) {
  return resize(pixels, Math.max(round(pixels.width * scale), 1), Math.max(round(pixels.height * scale), 1));
}

/**
 * The picture at about this scale: whole blocks first, and what little is then left to shrink is left.
 * @param {Pixels} pixels @param {number} scale @returns {Pixels}
 */
export function resized(pixels, scale) {
  if (scale >= 1) return exactly(pixels, scale);
  const block = Math.floor(1 / scale);
  const blocks = block > 1 ? resize(pixels, Math.ceil(pixels.width / block), Math.ceil(pixels.height / block)) : pixels;
  const small = blocks.width * blocks.height <= MAX_PIXELS && Math.max(blocks.width, blocks.height) <= MAX_SIDE;
  if (scale * block > LITTLE_TO_SHRINK && small) return blocks;
  return resize(blocks, Math.max(round(pixels.width * scale), 1), Math.max(round(pixels.height * scale), 1));
}

/** Whether the landmarks agree with the box of an upright face. @param {Face} face */
export function plausible({ box: [x1, y1, x2, y2], landmarks }) {
  const [slackX, slackY] = [LANDMARK_SLACK * (x2 - x1), LANDMARK_SLACK * (y2 - y1)];
  const inside = landmarks.every(([x, y]) => x1 - slackX <= x && x <= x2 + slackX && y1 - slackY <= y && y <= y2 + slackY);
  return inside && landmarks[3][1] + landmarks[4][1] > landmarks[0][1] + landmarks[1][1];
}

/** With black to its right and below, until both sides are multiples of 32. @param {Pixels} pixels @returns {Pixels} */
export function padded(pixels) {
  const [width, height] = [Math.ceil(pixels.width / 32) * 32, Math.ceil(pixels.height / 32) * 32];
  if (width === pixels.width && height === pixels.height) return pixels;
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < pixels.height; y++) data.set(pixels.data.subarray(y * pixels.width * 3, (y + 1) * pixels.width * 3), y * width * 3);
  return { data, width, height, channels: 3 };
}

/**
 * The faces that the network's outputs say, in the padded picture's pixels, best first.
 * @param {Outputs} outputs
 * @param {number} width  of the padded picture
 * @param {number} height
 * @param {number} minScore
 * @returns {Face[]}
 */
export function decode({ scores, boxes, landmarks }, width, height, minScore) {
  const count = scores.length;
  /** @type {Face[]} */
  const faces = [];
  let cell = 0;
  for (const stride of STRIDES) {
    const columns = width / stride;
    for (const end = cell + columns * (height / stride), start = cell; cell < end; cell++) {
      if (scores[cell] < minScore) continue;
      const [column, row] = [(cell - start) % columns, Math.floor((cell - start) / columns)];
      const [x, y] = [column + boxes[cell], row + boxes[count + cell]];
      const [w, h] = [Math.exp(boxes[2 * count + cell]) / 2, Math.exp(boxes[3 * count + cell]) / 2];
      const points = Array.from({ length: 5 }, (_, i) => [(landmarks[2 * i * count + cell] + column) * stride, (landmarks[(2 * i + 1) * count + cell] + row) * stride]);
      const box = [(x - w) * stride, (y - h) * stride, (x + w) * stride, (y + h) * stride];
      faces.push({ box: /** @type {Box} */ (box), score: Math.min(scores[cell], 1), landmarks: /** @type {Landmarks} */ (points), detector: "yunet" });
    }
  }
  return distinct(faces.sort((a, b) => b.score - a.score), NMS);
}

/**
 * Of faces that overlap more than `most`, the first alone.
 * @param {Face[]} faces @param {number} most
 */
export function distinct(faces, most) {
  /** @type {Face[]} */
  const kept = [];
  for (const face of faces) if (!kept.some((other) => overlap(face.box, other.box) > most)) kept.push(face);
  return kept;
}

/**
 * Faces in a picture, best first.
 * @param {Pixels} pixels  BGR
 * @param {number | null} minFace  longer side in pixels; null: automatic
 * @param {number} minScore
 * @param {(padded: Pixels) => Promise<Outputs>} network
 * @returns {Promise<Face[]>}
 */
export async function detect(pixels, minFace, minScore, network) {
  const { width, height } = pixels;
  const picture = resized(pixels, detectionScale(width, height, minFace));
  const pictures = [picture];
  const longer = Math.max(picture.width, picture.height);
  if (longer > COARSE_FROM) pictures.push(exactly(picture, Math.max(COARSE_SIDE / longer, Math.min(COARSE_SHARE, COARSE_MOST / longer))));
  /** @type {Face[]} */
  const faces = [];
  for (const each of pictures) {
    const input = padded(each);
    const found = decode(await network(input), input.width, input.height, minScore).filter(plausible);
    faces.push(...found.map((face) => scaled(face, width / each.width, height / each.height)));
  }
  const best = faces.sort((a, b) => b.score - a.score || a.box[1] - b.box[1] || a.box[0] - b.box[0]);
  const smallest = TOLERANCE * (minFace ?? automaticMinFace(width, height));
  return distinct(best, SAME_FACE).filter(({ box: [x1, y1, x2, y2] }) => Math.max(x2 - x1, y2 - y1) >= smallest && x1 < width && y1 < height && x2 > 0 && y2 > 0);
}

/** @param {Face} face @param {number} x @param {number} y @returns {Face} */
function scaled(face, x, y) {
  const [x1, y1, x2, y2] = face.box;
  return { ...face, box: [x1 * x, y1 * y, x2 * x, y2 * y], landmarks: face.landmarks.map(([a, b]) => /** @type {[number, number]} */ ([a * x, b * y])) };
}
