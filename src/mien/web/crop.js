/** Face -> model input: `mien.model.crop` in JavaScript, held to it by golden files (tests/web). */

import { region, round, shrink, warp } from "./pixels.js";

/** @typedef {import("./pixels.js").Pixels} Pixels */
/** @typedef {{box: import("./types.js").Box, landmarks: import("./types.js").Landmarks | null, detector: string}} Face */
/** @typedef {{margin: number, length: "longer" | "mean", shift_xy: [number, number]}} Framing */
/** @typedef {{align: "eyes" | "none", framings: Record<string, Framing>}} CropSpec */
/** @typedef {{width: number, height: number, channels: number, color: "gray" | "bgr" | "rgb"}} InputSpec */

/**
 * The model's square view: center, side in pixels and angle in radians.
 * @param {Face} face
 * @param {CropSpec} spec
 */
export function squareOf({ box: [x1, y1, x2, y2], landmarks, detector }, spec) {
  const framing = spec.framings[detector] ?? spec.framings.default;
  const length = framing.length === "longer" ? Math.max(x2 - x1, y2 - y1) : Math.sqrt((x2 - x1) * (y2 - y1));
  const side = Math.max(framing.margin * length, 1);
  const angle = spec.align === "eyes" && landmarks ? Math.atan2(landmarks[1][1] - landmarks[0][1], landmarks[1][0] - landmarks[0][0]) : 0;
  const [along, down] = framing.shift_xy.map((shift) => shift * side);
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  return { x: (x1 + x2) / 2 + cos * along - sin * down, y: (y1 + y2) / 2 + sin * along + cos * down, side, angle };
}

/**
 * The pixels from center - reach to center + reach that lie in 0..size, at least one.
 * @param {number} center @param {number} reach @param {number} size
 */
function span(center, reach, size) {
  const low = Math.min(Math.max(Math.floor(center - reach + 1e-6), 0), size - 1);
  return [low, Math.min(Math.max(Math.ceil(center + reach - 1e-6), low + 1), size)];
}

/**
 * Cut one face out of a picture.
 * @param {Pixels} pixels  BGR
 * @param {Face} face
 * @param {CropSpec} spec
 * @param {InputSpec} target
 * @returns {Uint8Array}  height x width x channels
 */
export function cut(pixels, face, spec, target) {
  const { x, y, side, angle } = squareOf(face, spec);
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const reach = (side / 2) * (Math.abs(cos) + Math.abs(sin));
  const [left, right] = span(x, reach, pixels.width);
  const [top, bottom] = span(y, reach, pixels.height);
  let part = region(pixels, left, top, right, bottom, target.color);

  // Shrink by area averaging first, so that the warp below never skips pixels.
  const width = Math.max(round((right - left) / Math.max(side / target.width, 1)), 1);
  const height = Math.max(round((bottom - top) / Math.max(side / target.height, 1)), 1);
  if (width !== part.width || height !== part.height) part = shrink(part, width, height);
  const [toX, toY] = [width / (right - left), height / (bottom - top)];

  // Output pixel -> pixel of the part. Continuous coordinates put pixel i's center at i + 0.5.
  const [stepX, stepY] = [side / target.width, side / target.height];
  const linear = [cos * stepX * toX, -sin * stepY * toX, sin * stepX * toY, cos * stepY * toY];
  const [halfX, halfY] = [0.5 - target.width / 2, 0.5 - target.height / 2];
  const offsetX = (x - left) * toX + linear[0] * halfX + linear[1] * halfY - 0.5;
  const offsetY = (y - top) * toY + linear[2] * halfX + linear[3] * halfY - 0.5;
  return warp(part, [linear[0], linear[1], offsetX, linear[2], linear[3], offsetY], target.width, target.height).data;
}
