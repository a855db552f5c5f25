/** How readings are worded and colored: the same everywhere on the page. */

/** @typedef {import("./types.js").Row} Row */
/** @typedef {import("./types.js").Model} Model */

/** Okabe and Ito's palette, as in mien's pictures (https://jfly.uni-koeln.de/color/). */
const COLORS = /** @type {Record<string, string>} */ ({
  angry: "#d55e00", contempt: "#e69f00", disgust: "#009e73", fear: "#cc79a7",
  happy: "#f0e442", neutral: "#bbbbbb", sad: "#0072b2", surprise: "#56b4e9",
});

/** @param {string} label */
export function color(label) {
  if (COLORS[label]) return COLORS[label];
  let sum = 0;
  for (const letter of label) sum = (sum * 31 + (letter.codePointAt(0) ?? 0)) >>> 0;
  return Object.values(COLORS)[sum % 8];
}

/** Dark on light colors, white on dark ones. @param {string} label */
export function ink(label) {
  const value = parseInt(color(label).slice(1), 16);
  const light = 0.299 * (value >> 16) + 0.587 * ((value >> 8) & 255) + 0.114 * (value & 255);
  return light > 125 ? "#101114" : "#ffffff";
}

/** @param {number} share  0..1 */
export const percent = (share) => `${share > 0 && share < 0.005 ? "<1" : Math.round(share * 100)} %`;

/**
 * Classes and their probabilities, largest first.
 * @param {Row} row
 * @returns {[string, number][]}
 */
export const ranked = (row) => Object.entries(row.probabilities).sort((a, b) => b[1] - a[1]);

/** Where the likeliest class has less, most people would say something else (mien.records.UNSURE_BELOW). */
const UNSURE_BELOW = 0.5;

/**
 * Whether no expression stands out.
 * @param {Row} row
 */
export const unsure = (row) => (typeof row.unsure === "number" ? row.unsure === 1 : row.confidence < UNSURE_BELOW);

/** Faces of which the detector is less sure are never asked for; the page's slider begins here. */
export const LEAST_SCORE = 0.5;

/** Of which the detector must be as sure where nobody says (mien.detect.yunet.DEFAULT_MIN_SCORE). */
export const DEFAULT_SCORE = 0.8;

/**
 * The mix of classes to lean to: its name, as the server gives it, and the factors for `withPrior`.
 * @param {import("./types.js").DeviceAnswer} answer
 * @param {import("./types.js").Choice} choice
 */
export function leaning(answer, { prior, strength }) {
  if (!prior || !answer.even) return { name: answer.prior, factors: answer.factors };
  return { name: strength === 1 ? prior : `${prior}, strength ${strength}`, factors: answer.even.map((factor) => factor ** strength) };
}

const ANSWERS = /** @type {Record<string, string>} */ ({ people: "How people would vote", fer2013: "The label in FER2013" });

/** @param {string | null} name  of an answer */
export const answerTitle = (name) => (name ? (ANSWERS[name] ?? name) : "The model's answer");

/**
 * Probabilities where another mix of classes is expected than in training (docs/reference/bundle.md).
 * @param {number[]} shares
 * @param {number[] | null} factors  new share / training share of each class; null changes nothing
 */
export function withPrior(shares, factors) {
  if (!factors) return shares;
  const shifted = shares.map((share, index) => share * factors[index]);
  const sum = shifted.reduce((a, b) => a + b, 0);
  return shifted.map((share) => share / sum);
}

/**
 * How much people would disagree: the entropy of the shares, 0 to 1.
 * @param {number[]} shares
 */
export function disagreement(shares) {
  const entropy = shares.reduce((sum, share) => (share > 0 ? sum - share * Math.log(share) : sum), 0);
  return Math.min(Math.max(entropy / Math.log(shares.length), 0), 1);
}

/**
 * The reading in a few words, "happy 95 %" or "not sure: sad or neutral".
 * @param {Row} row
 */
export function short(row) {
  const [first, second] = ranked(row);
  return unsure(row) && second ? `not sure: ${first[0]} or ${second[0]}` : `${first[0]} ${percent(first[1])}`;
}

/**
 * The reading as a sentence that says what the number means.
 * @param {Row} row
 * @param {Model | null} model
 */
export function sentence(row, model) {
  const [first, second] = ranked(row);
  const people = model?.answer === "people";
  if (unsure(row) && second) {
    return people
      ? `Not sure: about ${Math.round(first[1] * 100)} of 100 people would say ${first[0]}, ${Math.round(second[1] * 100)} would say ${second[0]}.`
      : `Not sure: ${first[0]} ${percent(first[1])}, ${second[0]} ${percent(second[1])}.`;
  }
  return people
    ? `About ${Math.round(first[1] * 100)} of 100 people would say ${first[0]}.`
    : `Most likely ${first[0]}, ${percent(first[1])}.`;
}

/** What the bars show. @param {Model | null} model */
export const measure = (model) => (model?.answer === "people" ? "Share of people who would say so" : "Probability");

/** @param {number} count @param {string} one @param {string} [many] */
export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

/** @param {number} seconds */
export function clock(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}.${Math.floor((seconds - whole) * 10)}`;
}
