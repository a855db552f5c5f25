/** Arithmetic on pixels, to the rules of `mien.imaging`: gray, area averaging, bilinear enlarging, and the warp. */

/**
 * @typedef {object} Pixels
 * @property {Uint8Array} data  row by row
 * @property {number} width
 * @property {number} height
 * @property {number} channels  1 (gray) or 3 (BGR)
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
      if (channels === 1) data[to++] = (b * 7471 + g * 38470 + r * 19595 + 32768) >> 16; // ITU-R BT.601, as Pillow rounds it
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
 * @param {number} scale  pixels of the long row in one of the short
 * @returns {Shares}
 */
function shares(from, to, scale) {
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

/** Whole blocks of pixels are averaged first, where so much shrinking remains. */
const LEFT_TO_SHRINK = 8;

/**
 * Shrink by area averaging.
 * @param {Pixels} pixels
 * @param {number} width  not more than the pixels'
 * @param {number} height  not more than the pixels'
 * @returns {Pixels}
 */
export function shrink(pixels, width, height) {
  const { channels } = pixels;
  const [stepX, stepY] = [pixels.width / width, pixels.height / height];
  const block = Math.max(Math.floor(Math.min(stepX, stepY) / LEFT_TO_SHRINK), 1);
  if (block > 1) pixels = reduce(pixels, block);
  const across = shares(pixels.width, width, stepX / block);
  const down = shares(pixels.height, height, stepY / block);
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
 * The mean of each block of pixels; blocks at the right and lower edge may be smaller (Pillow's `reduce`).
 * @param {Pixels} pixels
 * @param {number} block  side of a block
 * @returns {Pixels}
 */
export function reduce({ data, width: from, height: rows, channels }, block) {
  const [width, height] = [Math.ceil(from / block), Math.ceil(rows / block)];
  const out = new Uint8Array(width * height * channels);
  const sums = new Uint32Array(width * channels);
  for (let y = 0; y < height; y++) {
    sums.fill(0);
    const last = Math.min((y + 1) * block, rows);
    for (let line = y * block; line < last; line++) {
      for (let to = 0, x = 0, at = line * from * channels; x < from; to += channels) {
        for (const end = Math.min(x + block, from); x < end; x++) {
          for (let c = 0; c < channels; c++) sums[to + c] += data[at++];
        }
      }
    }
    for (let i = 0; i < sums.length; i++) {
      const across = Math.min(block, from - Math.floor(i / channels) * block);
      out[y * sums.length + i] = sums[i] / (across * (last - y * block)) + 0.5;
    }
  }
  return { data: out, width, height, channels };
}

/**
 * Resize as `mien.imaging.resize` does: bilinear to enlarge; to shrink, blocks first and a box filter for the rest.
 * @param {Pixels} pixels
 * @param {number} width
 * @param {number} height
 * @returns {Pixels}
 */
export function resize(pixels, width, height) {
  const larger = width > pixels.width || height > pixels.height;
  const block = Math.floor(Math.min(pixels.width / width, pixels.height / height));
  let picture = block > 1 ? reduce(pixels, block) : pixels;
  if (picture.width !== width) picture = resample(picture, width, larger);
  if (picture.height !== height) picture = turned(resample(turned(picture), height, larger));
  return picture;
}

/**
 * One direction of Pillow's `resize`, rounded to whole levels.
 * @param {Pixels} pixels
 * @param {number} width
 * @param {boolean} bilinear  else a box
 * @returns {Pixels}
 */
function resample({ data, width: from, height, channels }, width, bilinear) {
  const scale = from / width;
  const spread = Math.max(scale, 1);
  const out = new Uint8Array(width * height * channels);
  for (let x = 0; x < width; x++) {
    const center = (x + 0.5) * scale;
    const reach = (bilinear ? 1 : 0.5) * spread;
    const first = Math.max(Math.trunc(center - reach + 0.5), 0);
    const weights = Array.from({ length: Math.min(Math.trunc(center + reach + 0.5), from) - first }, (_, i) => {
      const distance = (i + first - center + 0.5) / spread;
      return bilinear ? Math.max(1 - Math.abs(distance), 0) : Number(distance > -0.5 && distance <= 0.5);
    });
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    for (let y = 0; y < height; y++) {
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        for (let i = 0, at = (y * from + first) * channels + c; i < weights.length; i++, at += channels) sum += data[at] * weights[i];
        out[(y * width + x) * channels + c] = sum / total + 0.5;
      }
    }
  }
  return { data: out, width, height, channels };
}

/** Rows as columns. @param {Pixels} pixels @returns {Pixels} */
function turned({ data, width, height, channels }) {
  const out = new Uint8Array(data.length);
  for (let y = 0, from = 0; y < height; y++) {
    for (let x = 0; x < width; x++) for (let c = 0; c < channels; c++) out[(x * height + y) * channels + c] = data[from++];
  }
  return { data: out, width: height, height: width, channels };
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

/** Positions are rounded to this share of a pixel. */
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
  const place = Float32Array.from(matrix, (value) => value * FRACTIONS); // in single precision, as numpy computes it
  const at32 = (/** @type {number} */ first, /** @type {number} */ x, /** @type {number} */ y) =>
    round(Math.fround(Math.fround(place[first] * x) + Math.fround(Math.fround(place[first + 1] * y) + place[first + 2])));
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [u, v] = [at32(0, x, y), at32(3, x, y)];
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
