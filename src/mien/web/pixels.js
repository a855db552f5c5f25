/** Arithmetic on pixels, to the rules of mien's Python (OpenCV's area averaging, bilinear enlarging, grey and warp). */

/**
 * @typedef {object} Pixels
 * @property {Uint8Array} data  row by row
 * @property {number} width
 * @property {number} height
 * @property {number} channels  1 (grey) or 3 (BGR)
 */

/** To the nearest whole number, halves to the even one, as Python rounds. @param {number} value */
export function round(value) {
  const low = Math.floor(value);
  const rest = value - low;
  if (rest !== 0.5) return rest < 0.5 ? low : low + 1;
  return low % 2 === 0 ? low : low + 1;
}

/**
 * A canvas's pixels as BGR.
 * @param {Uint8ClampedArray} rgba
 * @param {number} width
 * @param {number} height
 * @returns {Pixels}
 */
export function bgr(rgba, width, height) {
  const data = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < data.length; from += 4, to += 3) {
    data[to] = rgba[from + 2];
    data[to + 1] = rgba[from + 1];
    data[to + 2] = rgba[from];
  }
  return { data, width, height, channels: 3 };
}

/**
 * A rectangle of the pixels, in the colors that a model takes.
 * @param {Pixels} pixels  BGR
 * @param {number} left
 * @param {number} top
 * @param {number} right  exclusive
 * @param {number} bottom  exclusive
 * @param {"gray" | "bgr" | "rgb"} colors
 * @returns {Pixels}
 */
export function region(pixels, left, top, right, bottom, colors) {
  const [width, height, channels] = [right - left, bottom - top, colors === "gray" ? 1 : 3];
  const data = new Uint8Array(width * height * channels);
  let to = 0;
  for (let y = top; y < bottom; y++) {
    for (let from = (y * pixels.width + left) * 3, end = from + width * 3; from < end; from += 3) {
      const [b, g, r] = [pixels.data[from], pixels.data[from + 1], pixels.data[from + 2]];
      if (channels === 1) data[to++] = (b * 3735 + g * 19235 + r * 9798 + 16384) >> 15;
      else {
        data[to++] = colors === "rgb" ? r : b;
        data[to++] = g;
        data[to++] = colors === "rgb" ? b : r;
      }
    }
  }
  return { data, width, height, channels };
}

/**
 * Which pixels of a row make each pixel of a shorter one, and by which weights.
 * @typedef {{first: Int32Array, weights: Float32Array, taps: number}} Shares  `taps` weights for each pixel, some of them 0
 * @param {number} from
 * @param {number} to
 * @returns {Shares}
 */
function shares(from, to) {
  const scale = from / to;
  const taps = Math.min(Math.ceil(scale - 1e-9) + (Number.isInteger(scale) ? 0 : 1), from);
  const first = new Int32Array(to);
  const weights = new Float32Array(to * taps);
  for (let i = 0; i < to; i++) {
    const [start, end] = [i * scale, i * scale + scale];
    const cell = Math.min(scale, from - start);
    const last = Math.min(Math.floor(end), from - 1);
    const begin = Math.min(Math.ceil(start), last);
    first[i] = Math.min(begin - start > 1e-3 ? begin - 1 : begin, from - taps);
    const put = (/** @type {number} */ pixel, /** @type {number} */ weight) => (weights[i * taps + pixel - first[i]] = weight);
    if (begin - start > 1e-3) put(begin - 1, (begin - start) / cell);
    for (let pixel = begin; pixel < last; pixel++) put(pixel, 1 / cell);
    if (end - last > 1e-3) put(last, Math.min(Math.min(end - last, 1), cell) / cell);
  }
  return { first, weights, taps };
}

/**
 * Shrink by area averaging.
 * @param {Pixels} pixels
 * @param {number} width  not more than the pixels'
 * @param {number} height  not more than the pixels'
 * @returns {Pixels}
 */
export function shrink(pixels, width, height) {
  const { channels } = pixels;
  const across = shares(pixels.width, width);
  const down = shares(pixels.height, height);
  const row = new Float32Array(width * channels);
  const sum = new Float32Array(width * channels);
  const data = new Uint8Array(width * height * channels);
  let averaged = -1;
  for (let y = 0; y < height; y++) {
    sum.fill(0);
    for (let tap = 0; tap < down.taps; tap++) {
      const weight = down.weights[y * down.taps + tap];
      if (weight === 0) continue;
      const line = down.first[y] + tap;
      if (line !== averaged) averageRow(pixels, line, across, row);
      averaged = line;
      for (let i = 0; i < row.length; i++) sum[i] += row[i] * weight;
    }
    for (let i = 0, to = y * sum.length; i < sum.length; i++) data[to + i] = sum[i] + 0.5;
  }
  return { data, width, height, channels };
}

/**
 * @param {Pixels} pixels
 * @param {number} line
 * @param {Shares} across
 * @param {Float32Array} row  receives the averages
 */
function averageRow({ data, width, channels }, line, { first, weights, taps }, row) {
  const start = line * width * channels;
  for (let x = 0, to = 0, at = 0; x < first.length; x++) {
    let from = start + first[x] * channels;
    if (channels === 1) {
      let total = 0;
      for (let tap = 0; tap < taps; tap++) total += data[from++] * weights[at++];
      row[to++] = total;
      continue;
    }
    let b = 0;
    let g = 0;
    let r = 0;
    for (let tap = 0; tap < taps; tap++, at++, from += 3) {
      const weight = weights[at];
      b += data[from] * weight;
      g += data[from + 1] * weight;
      r += data[from + 2] * weight;
    }
    row[to] = b;
    row[to + 1] = g;
    row[to + 2] = r;
    to += 3;
  }
}

/**
 * Enlarge bilinearly, pixel centers at half coordinates.
 * @param {Pixels} pixels
 * @param {number} width
 * @param {number} height
 * @returns {Pixels}
 */
export function enlarge(pixels, width, height) {
  const [sx, sy] = [pixels.width / width, pixels.height / height];
  const matrix = /** @type {Matrix} */ ([sx, 0, 0.5 * sx - 0.5, 0, sy, 0.5 * sy - 0.5]);
  const { data, channels } = pixels;
  const out = new Uint8Array(width * height * channels);
  for (let y = 0, to = 0; y < height; y++) {
    const v = matrix[4] * y + matrix[5];
    for (let x = 0; x < width; x++) {
      const u = matrix[0] * x + matrix[2];
      const [x0, y0] = [Math.floor(u), Math.floor(v)];
      const at = corners(pixels, x0, y0);
      for (let c = 0; c < channels; c++) {
        const upper = data[at[0] + c] * (1 - u + x0) + data[at[1] + c] * (u - x0);
        const lower = data[at[2] + c] * (1 - u + x0) + data[at[3] + c] * (u - x0);
        out[to++] = round(upper * (1 - v + y0) + lower * (v - y0));
      }
    }
  }
  return { data: out, width, height, channels };
}

/** @typedef {[number, number, number, number, number, number]} Matrix  two rows: output pixel -> input pixel */

/**
 * Where the four pixels around a point begin in the data; past the edge the nearest pixel is repeated.
 * @param {Pixels} pixels @param {number} x @param {number} y
 */
function corners({ width, height, channels }, x, y) {
  const [x0, x1] = [Math.min(Math.max(x, 0), width - 1), Math.min(Math.max(x + 1, 0), width - 1)];
  const [y0, y1] = [Math.min(Math.max(y, 0), height - 1), Math.min(Math.max(y + 1, 0), height - 1)];
  return [(y0 * width + x0) * channels, (y0 * width + x1) * channels, (y1 * width + x0) * channels, (y1 * width + x1) * channels];
}

/** Positions are rounded to this share of a pixel, as OpenCV does. */
const FRACTIONS = 32;

/**
 * Turn and scale, bilinear; past the edge the nearest pixel is repeated.
 * @param {Pixels} pixels
 * @param {Matrix} matrix
 * @param {number} width
 * @param {number} height
 * @returns {Pixels}
 */
export function warp(pixels, matrix, width, height) {
  const { data, channels } = pixels;
  const out = new Uint8Array(width * height * channels);
  for (let y = 0, to = 0; y < height; y++) {
    const [startX, startY] = [round((matrix[1] * y + matrix[2]) * 1024) + 16, round((matrix[4] * y + matrix[5]) * 1024) + 16];
    for (let x = 0; x < width; x++) {
      const [u, v] = [(startX + round(matrix[0] * x * 1024)) >> 5, (startY + round(matrix[3] * x * 1024)) >> 5];
      const [right, lower] = [u & (FRACTIONS - 1), v & (FRACTIONS - 1)];
      const at = corners(pixels, u >> 5, v >> 5);
      const [left, upper] = [FRACTIONS - right, FRACTIONS - lower];
      for (let c = 0; c < channels; c++) {
        const sum = data[at[0] + c] * left * upper + data[at[1] + c] * right * upper + data[at[2] + c] * left * lower + data[at[3] + c] * right * lower;
        out[to++] = (sum + 512) >> 10;
      }
    }
  }
  return { data: out, width, height, channels };
}
